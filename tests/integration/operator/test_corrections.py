"""An operator's correction of an order: stored at once, audited, and counting until the order says otherwise."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import asyncpg
import pytest

from adapters.postgres.bus import outbox
from adapters.postgres.operator.dead_letters import StoredLetter
from adapters.postgres.order_marks import SyncResult
from adapters.postgres.orders import row_of
from adapters.postgres.pool import Pool
from adapters.registry import SOURCES
from daemon.contacts.recording import record
from daemon.contacts.states import state_from
from daemon.operator.corrections import Correction, NoCorrection, correct
from daemon.operator.dead_letters import edited
from daemon.operator.orders import NoSuchOrder
from daemon.sandbox.orders import make_order
from schemas.envelope import Event

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
WRONG = {"code": "972", "number": "12"}
RIGHT, OTHER = "+972505550143", "+972505550144"


def body(hours: int = 0, **overrides: Any) -> str:
    made = make_order(Random(1), 1, order_id="IL1", branch="il", **({"phone": WRONG, "name": "Noa"} | overrides))
    made["form"]["updated_at"] = (NOW - 9 * HOUR + hours * HOUR).isoformat()
    return json.dumps(made)


async def stored(db: Pool, text: str, at: datetime = NOW) -> list[Event]:
    """A state that a webhook brings; what follows from it."""
    order, event = state_from(text, at)
    async with db.acquire() as conn, conn.transaction():
        return list(await record(conn, [row_of(order, event.id, mended=True)]))


async def row(db: Pool) -> asyncpg.Record:
    found = await db.fetchrow("SELECT * FROM orders WHERE order_id = 'IL1'")
    assert found is not None
    return found


async def corrected(db: Pool, **given: str) -> Correction:
    return await correct(db, "IL1", given, "ops", NOW + HOUR, dry_run=False)


async def sent(db: Pool) -> list[Event]:
    return [event for _, event in await outbox.left(db, older_than_s=-1, limit=10)]


async def test_an_order_that_failed_for_its_phone_is_pending_with_the_right_one_and_on_its_way(db: Pool) -> None:
    await stored(db, body())
    async with db.acquire() as conn, conn.transaction():
        await record(conn, [SyncResult(order_id="IL1", status="failed", at=NOW, error="no phone")])
    done = await corrected(db, phone="050-555-0143")
    assert (done.fields, done.phone) == (("phone",), RIGHT)
    found = await row(db)
    assert (found["client_phone_e164"], found["cgb_sync_status"], found["cgb_sync_error"]) == (RIGHT, "pending", None)
    assert found["event_id"] == done.event_id
    assert json.loads(found["client_phone_raw"]) == WRONG
    (event,) = await sent(db)
    assert (event.id, event.type, event.subject) == (done.event_id, "order.received", RIGHT)
    assert event.data.decode() == found["raw_body"]


async def test_the_audit_log_names_who_corrected_which_fields_and_no_value(db: Pool) -> None:
    await stored(db, body())
    await corrected(db, phone=RIGHT, name="Noa Levi")
    (logged,) = await db.fetch("SELECT actor, action, subject, detail FROM audit_log")
    assert tuple(logged)[:3] == ("ops", "order.corrected", "order:IL1")
    assert set(json.loads(logged["detail"])["fields"]) >= {"client_phone_e164", "client_name"}
    assert RIGHT not in logged["detail"]
    assert "Levi" not in logged["detail"]


async def test_a_correction_of_the_phone_tells_the_person_who_had_the_order(db: Pool) -> None:
    await stored(db, body(phone=OTHER))
    await corrected(db, phone=RIGHT)
    assert [(event.type, event.subject) for event in await sent(db)] == [
        ("order.moved", OTHER),
        ("order.received", RIGHT),
    ]


async def test_a_later_state_that_says_the_same_of_the_buyer_keeps_the_correction(db: Pool) -> None:
    """Promise: the state is in the lane of the right person, and the event that brought it finds itself superseded."""
    await stored(db, body())
    await corrected(db, phone=RIGHT)
    text = body(1, amount=99)
    _, brought = state_from(text, NOW + 2 * HOUR)
    (event,) = await stored(db, text, NOW + 2 * HOUR)
    found = await row(db)
    assert (found["client_phone_e164"], found["amount"], found["event_id"]) == (RIGHT, 99, event.id)
    assert (event.type, event.subject, event.causationid) == ("order.received", RIGHT, brought.id)
    assert found["event_id"] != brought.id
    assert await stored(db, text, NOW + 2 * HOUR) == []  # the same commit again
    assert (await row(db))["event_id"] == event.id


async def test_a_later_state_that_says_something_new_wins_there_and_only_there(db: Pool) -> None:
    await stored(db, body())
    await corrected(db, phone=RIGHT, name="Noa Levi")
    await stored(db, body(1, phone={"code": "972", "number": "505550144"}), NOW + 2 * HOUR)
    found = await row(db)
    assert (found["client_phone_e164"], found["client_name"]) == (OTHER, "Noa Levi")


async def test_an_older_state_that_comes_late_changes_nothing(db: Pool) -> None:
    await stored(db, body(2))
    done = await corrected(db, phone=RIGHT)
    assert await stored(db, body(1), NOW + 3 * HOUR) == []
    assert (await row(db))["event_id"] == done.event_id


async def test_a_second_correction_keeps_the_first_of_another_field_and_replaces_that_of_the_same(db: Pool) -> None:
    await stored(db, body())
    for given in ({"phone": OTHER}, {"email": "right@example.com"}, {"phone": RIGHT}, {"phone": OTHER}):
        await corrected(db, **given)
    found = await row(db)
    assert (found["client_phone_e164"], found["client_email"]) == (OTHER, "right@example.com")
    assert await db.fetchval("SELECT count(DISTINCT id) FROM outbox WHERE type = 'order.received'") == 4


async def test_what_the_order_says_already_is_no_correction_and_a_dry_run_does_nothing(db: Pool) -> None:
    await stored(db, body(phone=RIGHT))
    assert (await corrected(db, phone="00972 50 555 0143")).fields == ()
    looked = await correct(db, "IL1", {"phone": OTHER}, "ops", NOW, dry_run=True)
    assert (looked.fields, looked.phone, looked.event_id) == (("phone",), OTHER, "")
    assert (await row(db))["client_phone_e164"] == RIGHT
    assert await sent(db) == []


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("phone", "12", "usable phone"),
        ("phone", "noa@example.com", "usable phone"),
        ("email", "noa", "e-mail"),
        ("email", "a b@example.com", "e-mail"),
        ("email", "\u202e", "empty"),
        ("name", "\x07\u2066", "empty"),
    ],
)
async def test_what_cannot_be_right_is_refused_without_a_trace(db: Pool, field: str, value: str, says: str) -> None:
    await stored(db, body())
    with pytest.raises(NoCorrection, match=says):
        await corrected(db, **{field: value})
    assert await sent(db) == []
    assert await db.fetchval("SELECT count(*) FROM audit_log") == 0


async def test_an_order_that_is_not_there_cannot_be_corrected(db: Pool) -> None:
    with pytest.raises(NoSuchOrder):
        await corrected(db, phone=RIGHT)


async def test_the_source_gives_a_corrected_body_the_key_of_the_right_person(db: Pool) -> None:
    """Promise: a dead letter of a corrected order can be edited, and stays in its lane."""
    await stored(db, body())
    await corrected(db, phone=RIGHT)
    (event,) = await sent(db)
    assert SOURCES[0].name == event.source
    letter = StoredLetter(1, "contact-sync", event, "Refused", "", 1, "open", NOW, None, None, 0, None)
    assert edited(letter, event.data).subject == RIGHT
