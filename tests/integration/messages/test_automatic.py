"""Automatic messages on a real Postgres: once, in any order of arrival, following the order until they go out."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from adapters.postgres import automatic, contacts, merges, messages
from adapters.postgres.automatic import Asked, Known
from adapters.postgres.pool import Pool
from daemon.bus.outcome import Done, Turn
from daemon.messages.automatic import AutomaticDeps, handle, record
from daemon.messages.automatic_decisions import Terms
from daemon.messages.requests import requested
from daemon.operator import sending
from schemas.envelope import Event
from schemas.messages import Template
from tests.support.automatic import HOUR, NOW, a_rule, body, event_of, terms_for
from tests.support.reports import E164, a_report, stored
from tests.support.reports import handled as report_handled

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
REMINDER = a_rule("reminder", before="24h", of="data.form.appointment", variables=["{time}"])
APPROVAL = a_rule("approval", once="applicant", variables=["{applicant.id}"])


def deps_of(db: Pool, terms: Terms) -> AutomaticDeps:
    async def known(asked: Asked) -> Known:
        (found,) = await automatic.known(db, [asked])
        return found

    return AutomaticDeps(terms=terms, known=known)


async def handled(db: Pool, event: Event, terms: Terms, *, now: datetime | None = None) -> tuple[str, list[Event]]:
    """What became of *event*, and what it emits."""
    outcome = await handle(event, deps_of(db, terms), Turn(now or event.time))
    assert isinstance(outcome, Done)
    async with db.acquire() as conn, conn.transaction():
        return outcome.skipped or "done", list(await record(conn, outcome.rows))


async def rows(db: Pool) -> list[dict[str, Any]]:
    query = """
    SELECT m.*, a.order_id, a.subject, a.withdrawn, a.rule
    FROM messages m JOIN automatic_messages a ON a.message_id = m.id ORDER BY a.order_id, a.kind, a.subject
    """
    return [dict(row) for row in await db.fetch(query)]


async def statuses(db: Pool) -> list[str]:
    return [row["status"] for row in await rows(db)]


def appointment(at: datetime, *, changed: datetime = NOW - HOUR, **given: Any) -> dict[str, Any]:
    return body(changed=changed, form={"appointment": at.isoformat()}, **given)


async def test_an_order_that_comes_twice_and_changed_is_confirmed_once(db: Pool) -> None:
    terms = terms_for(a_rule())
    end, (event,) = await handled(db, event_of(body()), terms)
    assert (end, event.type, event.subject, event.topic) == ("done", "message.requested", E164, "messages")
    assert event.causationid == event_of(body()).id
    message = requested(event)
    assert (message.content, message.provider) == (Template("order_confirmation", "he", {"1": "IL1"}), "meta")
    assert await handled(db, event_of(body()), terms) == ("done", [])
    changed = event_of(body(status="issue", changed=NOW + MINUTE, name="Another"), at=NOW + HOUR)
    assert await handled(db, changed, terms) == ("done", [])
    (row,) = await rows(db)
    assert (row["id"], row["status"], row["purpose"], row["category"]) == (
        message.id,
        "queued",
        "rule:confirmation",
        "utility",
    )
    assert (row["phone"], row["event_id"], row["released_at"] is not None) == (E164, event.id, True)


async def test_many_processes_that_handle_an_order_at_once_ask_for_its_message_once(db: Pool) -> None:
    terms = terms_for(a_rule(), REMINDER, APPROVAL)
    event = event_of(appointment(NOW + 3 * DAY, applicants=("apl_1", "apl_2", "apl_3")))
    emitted = [one for _, told in await asyncio.gather(*(handled(db, event, terms) for _ in range(4))) for one in told]
    assert len(emitted) == len({one.id for one in emitted}) == 4
    assert len(await rows(db)) == 5


async def test_a_family_of_three_gets_three_and_a_fourth_its_own(db: Pool) -> None:
    _, told = await handled(db, event_of(body(applicants=("apl_1", "apl_2", "apl_3"))), terms_for(APPROVAL))
    assert sorted(one.json()["content"]["variables"]["1"] for one in told) == ["apl_1", "apl_2", "apl_3"]
    later = body(applicants=("apl_3", "apl_2", "apl_4", "apl_1"), changed=NOW)
    _, (more,) = await handled(db, event_of(later, at=NOW + HOUR), terms_for(APPROVAL))
    assert more.json()["content"]["variables"] == {"1": "apl_4"}


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_states_that_arrive_out_of_order_tell_only_what_is_newer(db: Pool, order: Sequence[int]) -> None:
    terms = terms_for(a_rule("status", once="status", where={"order.status": ["issue", "completed", "active"]}))
    states = [body(status=s, changed=NOW + n * MINUTE) for n, s in enumerate(("active", "issue", "completed"))]
    newest = -1
    for place, state in enumerate(order):
        end, told = await handled(db, event_of(states[state], at=NOW + HOUR + place * MINUTE), terms)
        assert (end, len(told)) == (("done", 1) if state > newest else ("superseded", 0))
        newest = max(newest, state)


async def test_an_older_state_that_was_read_before_the_newer_one_was_recorded_changes_nothing(db: Pool) -> None:
    terms = terms_for(a_rule("status", once="status"))
    old, new = (
        event_of(body(status=s, changed=c), at=NOW + HOUR) for s, c in (("issue", NOW), ("canceled", NOW + MINUTE))
    )
    decided = await handle(old, deps_of(db, terms), Turn(NOW + HOUR))
    assert await handled(db, new, terms) == ("canceled", [])
    async with db.acquire() as conn, conn.transaction():
        assert await record(conn, decided.rows) == []
    assert await rows(db) == []


async def test_a_state_that_the_table_of_orders_is_past_is_superseded(db: Pool) -> None:
    await stored(db, body(changed=NOW - MINUTE))
    assert (await handled(db, event_of(body(changed=NOW - HOUR)), terms_for(a_rule())))[0] == "superseded"
    assert (await handled(db, event_of(body(changed=NOW - MINUTE), id="another"), terms_for(a_rule())))[0] == "done"


async def test_a_reminder_is_moved_with_its_time_and_goes_out_once(db: Pool) -> None:
    terms, start = terms_for(REMINDER), await db.fetchval("SELECT now()")
    first = appointment(start + 3 * DAY)
    assert await handled(db, event_of(first), terms, now=start) == ("done", [])
    (row,) = await rows(db)
    assert (row["not_before"], row["released_at"], row["status"]) == (start + 2 * DAY, None, "queued")
    moved = appointment(start + 5 * DAY, changed=NOW, phone={"code": "972", "number": "505550002"})
    assert await handled(db, event_of(moved, at=NOW + HOUR), terms, now=start) == ("done", [])
    (row,) = await rows(db)
    assert (row["not_before"], row["phone"]) == (start + 4 * DAY, "+972505550002")
    sooner = appointment(start + HOUR, changed=NOW + MINUTE)
    _, (due,) = await handled(db, event_of(sooner, at=NOW + 2 * HOUR), terms, now=start)
    assert requested(due).to.e164 == E164
    assert await messages.claim(db, requested(due).id, due.id) == 1
    later = appointment(start + 9 * DAY, changed=NOW + 2 * MINUTE)
    assert await handled(db, event_of(later, at=NOW + 3 * HOUR), terms, now=start) == ("done", [])
    (row,) = await rows(db)
    assert (row["not_before"], row["event_id"]) == (None, due.id), "it has gone out"


async def test_a_reminder_whose_time_has_come_meanwhile_is_sent_at_once(db: Pool) -> None:
    terms = terms_for(REMINDER)
    await handled(db, event_of(appointment(NOW + 3 * DAY)), terms)
    _, (due,) = await handled(db, event_of(appointment(NOW + 2 * HOUR, changed=NOW), at=NOW + HOUR), terms)
    (row,) = await rows(db)
    assert (row["event_id"], row["released_at"] is not None, row["not_before"]) == (due.id, True, None)
    async with db.acquire() as conn, conn.transaction():
        assert await messages.release(conn, 10) == [], "it is on its way already"


async def test_what_waits_for_a_canceled_order_is_withdrawn_and_comes_back_with_the_order(db: Pool) -> None:
    terms = terms_for(a_rule(), REMINDER)
    _, (confirmed,) = await handled(db, event_of(appointment(NOW + 3 * DAY)), terms)
    canceled = appointment(NOW + 3 * DAY, changed=NOW, status="canceled")
    assert await handled(db, event_of(canceled, at=NOW + HOUR), terms) == ("canceled", [])
    assert [(row["status"], row["error"], row["withdrawn"]) for row in await rows(db)] == [
        ("canceled", "withdrawn: canceled", True)
    ] * 2
    back = event_of(appointment(NOW + 4 * DAY, changed=NOW + MINUTE), at=NOW + 2 * HOUR)
    _, (again,) = await handled(db, back, terms)
    assert again.id != confirmed.id, "the event that found it canceled is done"
    assert requested(again).id == requested(confirmed).id
    confirmation, reminder = await rows(db)
    assert (confirmation["status"], confirmation["error"], confirmation["event_id"]) == ("queued", None, again.id)
    assert (reminder["status"], reminder["not_before"], reminder["released_at"]) == ("queued", NOW + 3 * DAY, None)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({"alerts": False}, "no consent"), ({"alerts": None}, "no consent"), ({"phone": None}, "no phone")],
)
async def test_consent_that_is_withdrawn_withdraws_what_is_queued(
    db: Pool, changed: dict[str, Any], reason: str
) -> None:
    terms = terms_for(a_rule(), REMINDER)
    await handled(db, event_of(appointment(NOW + 3 * DAY)), terms)
    event = event_of(appointment(NOW + 3 * DAY, changed=NOW, **changed), at=NOW + HOUR)
    assert await handled(db, event, terms) == (reason, [])
    assert [(row["status"], row["error"]) for row in await rows(db)] == [("canceled", f"withdrawn: {reason}")] * 2


async def test_a_reminder_without_its_time_is_withdrawn_and_a_confirmation_under_way_is_not(db: Pool) -> None:
    terms = terms_for(a_rule(), REMINDER)
    await handled(db, event_of(appointment(NOW + 3 * DAY)), terms)
    await handled(db, event_of(body(changed=NOW, status="issue"), at=NOW + HOUR), terms)
    assert await statuses(db) == ["queued", "canceled"]


async def test_what_waits_for_its_provider_goes_to_the_corrected_phone_alone(db: Pool) -> None:
    """The former phone may be another person's."""
    terms = terms_for(a_rule(), REMINDER)
    _, (old,) = await handled(db, event_of(appointment(NOW + 3 * DAY)), terms)
    corrected = appointment(NOW + 3 * DAY, changed=NOW)
    corrected["form"]["client"]["phone"] = {"code": "972", "number": "505550777"}
    _, (new,) = await handled(db, event_of(corrected, at=NOW + HOUR), terms)
    assert (requested(new).id, requested(new).to.e164) == (requested(old).id, "+972505550777")
    assert {row["phone"] for row in await rows(db)} == {"+972505550777"}
    assert await messages.claim(db, requested(old).id, old.id) is None
    assert await messages.claim(db, requested(new).id, new.id) == 1
    assert await handled(db, event_of(corrected, at=NOW + 2 * HOUR), terms) == ("done", [])


async def test_what_another_event_has_asked_for_goes_to_the_corrected_phone_as_well(db: Pool) -> None:
    rule = a_rule("issues", when={"event": "applicant_issue.reported"}, once="report", variables=["{issues.list}"])
    everything = terms_for(rule)
    await stored(db, body(applicants=("apl_2",)))
    _, (report,) = await report_handled(db, a_report())
    _, (old,) = await handled(db, report, everything)
    corrected = body(changed=NOW, applicants=("apl_2",))
    corrected["form"]["client"]["phone"] = {"code": "972", "number": "505550777"}
    _, (new,) = await handled(db, event_of(corrected, at=NOW + HOUR), everything)
    assert (requested(new).id, requested(new).to.e164) == (requested(old).id, "+972505550777")
    assert requested(new).content == requested(old).content


async def test_what_has_gone_out_or_was_canceled_by_an_operator_stays_as_it_is(db: Pool) -> None:
    terms = terms_for(a_rule(), REMINDER)
    await handled(db, event_of(appointment(NOW + 3 * DAY)), terms)
    confirmation, reminder = (row["id"] for row in await rows(db))
    assert await messages.claim(db, confirmation) == 1
    await sending.cancel(db, reminder)
    canceled = appointment(NOW + 3 * DAY, changed=NOW, status="canceled")
    await handled(db, event_of(canceled, at=NOW + HOUR), terms)
    assert await statuses(db) == ["sending", "canceled"]
    back = event_of(appointment(NOW + 3 * DAY, changed=NOW + MINUTE), at=NOW + 2 * HOUR)
    assert await handled(db, back, terms) == ("done", [])
    assert await statuses(db) == ["sending", "canceled"]


async def test_a_rule_that_tells_of_the_cancellation_withdraws_the_rest(db: Pool) -> None:
    terms = terms_for(a_rule(), a_rule("farewell", where={"order.status": "canceled"}))
    await handled(db, event_of(body()), terms)
    end, (farewell,) = await handled(db, event_of(body(status="canceled", changed=NOW), at=NOW + HOUR), terms)
    assert (end, farewell.type) == ("done", "message.requested")
    assert [(row["rule"], row["status"]) for row in await rows(db)] == [
        ("confirmation", "canceled"),
        ("farewell", "queued"),
    ]


async def test_what_is_too_old_is_not_made_and_what_waits_already_is_kept(db: Pool) -> None:
    young, old = terms_for(REMINDER), terms_for(REMINDER | {"when": {"event": "order.received", "within": "2d"}})
    order = event_of(appointment(NOW + 9 * DAY))
    assert await handled(db, order, old, now=NOW + 3 * DAY) == ("too old", [])
    assert await rows(db) == []
    await handled(db, order, young)
    assert await handled(db, order, old, now=NOW + 3 * DAY) == ("too old", [])
    assert await statuses(db) == ["queued"]


async def test_a_report_is_told_once_and_a_canceled_orders_is_not(db: Pool) -> None:
    rule = a_rule("issues", when={"event": "applicant_issue.reported"}, once="report", variables=["{issues.list}"])
    await stored(db, body(applicants=("apl_2",)))
    _, (report,) = await report_handled(db, a_report())
    terms = terms_for(rule)
    end, (asked,) = await handled(db, report, terms)
    assert (end, asked.subject, asked.causationid) == ("done", E164, report.id)
    assert await handled(db, report._replace(id="again"), terms) == ("done", [])
    assert len(await rows(db)) == 1
    data = report.data.replace(b'"order_status":"active"', b'"order_status":"canceled"').replace(b"apl_2", b"apl_3")
    assert await handled(db, report._replace(data=data, id="of another"), terms) == ("canceled", [])


async def test_a_merged_person_is_written_to_in_the_language_that_stands_for_both(db: Pool) -> None:
    async with db.acquire() as conn, conn.transaction():
        made = await contacts.ensure(conn, [E164, "+972505550002"])
        older, younger = made[E164], made["+972505550002"]
        await conn.execute("UPDATE contacts SET language = 'ru' WHERE id = $1", older)
        await merges.lock(conn, sorted([older, younger]))
        await merges.merge(conn, stays=older, merged=younger, actor="test", why="test")
    rule = a_rule(templates={"ru": {"name": "in_russian"}, "he": {"name": "in_hebrew"}})
    orders = (
        body("IL1"),
        body("IL2", phone={"code": "972", "number": "505550002"}),
        body("IL3", phone={"code": "972", "number": "505550003"}),
    )
    for order in orders:
        await handled(db, event_of(order), terms_for(rule))
    assert [requested_name(row) for row in await rows(db)] == ["in_russian", "in_russian", "in_hebrew"]


def requested_name(row: dict[str, Any]) -> str:
    name: str = json.loads(row["content"])["name"]
    return name


async def test_test_orders_are_skipped(db: Pool) -> None:
    outcome = await handle(event_of(body("IL1-TEST")), deps_of(db, terms_for(a_rule())), Turn(NOW))
    assert outcome == Done(skipped="test order")


async def test_batches_of_many_orders_side_by_side_never_lock_each_other_out(db: Pool) -> None:
    terms, rng = terms_for(a_rule(), REMINDER), random.Random(1)
    first = [event_of(appointment(NOW + 3 * DAY) | {"order": body(f"IL{n}")["order"]}) for n in range(12)]

    async def batch(events: Sequence[Event]) -> list[Event]:
        outcomes = [await handle(event, deps_of(db, terms), Turn(event.time)) for event in events]
        async with db.acquire() as conn, conn.transaction():
            return list(await record(conn, [row for outcome in outcomes for row in outcome.rows]))

    def shuffled() -> list[Event]:
        return rng.sample(first, len(first))

    told = await asyncio.gather(*(batch(shuffled()) for _ in range(4)))
    assert sorted(requested(event).id for events in told for event in events) == sorted(
        row["id"] for row in await rows(db) if row["rule"] == "confirmation"
    )
    assert len(await rows(db)) == 24
