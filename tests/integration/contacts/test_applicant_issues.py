"""Reports about applicants on a real Postgres: the order that names the applicant, the row, and what is passed on."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from asyncpg import Record

from adapters.postgres import applicant_issues, contacts
from adapters.postgres.applicant_issues import BY_INDEX, Known
from adapters.postgres.operator import trail
from adapters.postgres.pool import Pool
from daemon.bus.outcome import Turn
from daemon.contacts.applicant_issues import WORKER, handle, record
from daemon.contacts.wiring import ContactDeps
from schemas.errors import Refused
from tests.support.plans import nodes
from tests.support.reports import E164, HOUR, NOW, a_report, an_applicant, an_order, deps_of, handled, stored
from tests.support.until import until


async def row(db: Pool) -> Record:
    (found,) = await db.fetch("SELECT * FROM applicant_issues")
    return found


async def test_a_report_for_the_second_applicant_finds_the_order_and_is_passed_on(db: Pool) -> None:
    await stored(db, an_order("IL1", "apl_1", "apl_2", name="Noa Buyer"))
    event = a_report(issues={"face_photo": ["blurred_photo", "with_shadow_light"], "new_category": ["code"]}, note="x")
    end, (told,) = await handled(db, event)
    assert end == "done"
    found = await row(db)
    assert (found["status"], found["reason"], found["order_id"], found["branch"]) == ("reported", None, "IL1", "il")
    assert (found["applicant_name"], found["applicant_phone"]) == ("APL_2 EXAMPLE", E164)
    assert (found["reported_at"], found["processed_at"], found["event_id"]) == (NOW, NOW, event.id)
    assert found["raw_body"].encode() == event.data
    assert json.loads(found["issues"]) == json.loads(event.data)["issues"]
    assert json.loads(found["extra_data"]) == {"note": "x"}
    assert (told.type, told.topic, told.subject) == ("applicant_issue.reported", "conversations", E164)
    assert told.causationid == event.id
    contact = (await contacts_of(db))[E164]
    assert told.json() == {
        "order_id": "IL1",
        "order_status": "active",
        "branch": "il",
        "country": "uk",
        "client_name": "Noa Buyer",
        "applicant_id": "apl_2",
        "applicant_name": "APL_2 EXAMPLE",
        "phone": E164,
        "contact_id": contact,
        "issues": [
            {"category": "face_photo", "code": "blurred_photo", "label": "Blurred photo"},
            {"category": "face_photo", "code": "with_shadow_light", "label": "With shadow light"},
            {"category": "new_category", "code": "code", "label": "Code"},
        ],
    }
    assert str(found["contact_id"]) == contact


async def contacts_of(db: Pool) -> dict[str, str]:
    rows = await db.fetch("SELECT value, contact_id FROM contact_identities WHERE kind = 'phone'")
    return {value: str(contact) for value, contact in rows}


async def test_the_person_who_has_a_contact_keeps_it_and_a_report_with_a_phone_of_its_own_goes_there(db: Pool) -> None:
    async with db.acquire() as conn, conn.transaction():
        known = await contacts.ensure(conn, [E164])
    await stored(db, an_order("IL1", "apl_1", "apl_2"))
    _, (told,) = await handled(db, a_report())
    assert told.json()["contact_id"] == str(known[E164])
    _, (again,) = await handled(db, a_report(at=NOW + HOUR, phone="972505550009"))
    assert (again.subject, again.json()["phone"]) == ("+972505550009", "+972505550009")
    assert again.json()["contact_id"] == (await contacts_of(db))["+972505550009"] != str(known[E164])
    assert json.loads((await row(db))["phone_raw"]) == "972505550009"


async def test_a_report_that_no_message_follows_names_the_contact_of_a_person_who_has_one(db: Pool) -> None:
    async with db.acquire() as conn, conn.transaction():
        known = await contacts.ensure(conn, [E164])
    await stored(db, an_order("IL1", "apl_2", alerts=None))
    assert await handled(db, a_report()) == ("no consent", [])
    assert (await row(db))["contact_id"] == known[E164]


@pytest.mark.parametrize(
    ("order", "report", "branches", "reason"),
    [
        ({}, {"issues": {}}, (), "no issues"),
        ({"branch": "se"}, {}, ("il",), "other branch"),
        ({"alerts": None}, {}, (), "no consent"),
        ({"alerts": False}, {}, (), "no consent"),
        ({"phone": None}, {}, (), "no phone"),
        ({}, {"phone": "12"}, (), "no phone"),
    ],
)
async def test_an_end_without_a_message_is_kept_with_its_reason_and_lets_no_message_follow(
    db: Pool, order: dict[str, Any], report: dict[str, Any], branches: tuple[str, ...], reason: str
) -> None:
    await stored(db, an_order("IL1", "apl_2", **order))
    assert await handled(db, a_report(**report), branches=branches) == (reason, [])
    found = await row(db)
    assert (found["status"], found["reason"], found["order_id"]) == ("skipped", reason, "IL1")
    assert await contacts_of(db) == {}


async def test_a_report_waits_for_its_order_for_a_bounded_time(db: Pool) -> None:
    event = a_report()
    assert await handled(db, event) == ("later", [])
    found = await row(db)
    assert (found["status"], found["reason"], found["processed_at"]) == ("waiting", "waits for its order", None)
    assert await trail.put_off(db, event.id) == {"applicant-issues": "waits for its order"}
    assert await handled(db, event, now=NOW + timedelta(seconds=599)) == ("later", [])
    assert await handled(db, event, now=NOW + timedelta(seconds=600)) == ("unknown applicant", [])
    found = await row(db)
    assert (found["status"], found["reason"], found["order_id"]) == ("skipped", "unknown applicant", None)
    assert await trail.put_off(db, event.id) == {}
    await stored(db, an_order("IL1", "apl_2"))
    end, told = await handled(db, event, now=NOW + HOUR)  # a replay
    assert (end, len(told)) == ("done", 1)
    assert (await row(db))["status"] == "reported"


async def test_a_report_is_passed_on_once(db: Pool) -> None:
    await stored(db, an_order("IL1", "apl_2"))
    event = a_report()
    _, (first,) = await handled(db, event)
    assert await handled(db, event, now=NOW + HOUR) == ("reported already", [])
    outcome = await handle(a_report(at=NOW + HOUR), deps_of(db), Turn(NOW + HOUR))
    for _ in range(2):  # the same transaction again
        async with db.acquire() as conn, conn.transaction():
            (second,) = await record(conn, outcome.rows)
    assert second.id != first.id


async def test_the_same_report_that_arrives_again_after_the_inbox_forgot_it_is_passed_on_again(db: Pool) -> None:
    await stored(db, an_order("IL1", "apl_2"))
    _, (first,) = await handled(db, a_report(id="one"))
    _, (again,) = await handled(db, a_report(id="one", at=NOW + 800 * HOUR))
    assert first.id != again.id


async def test_the_row_is_the_newest_report_whatever_the_order_of_handling(db: Pool) -> None:
    await stored(db, an_order("IL1", "apl_2"))
    older, newer = a_report(), a_report(at=NOW + HOUR, issues={})
    assert (await handled(db, newer))[0] == "no issues"
    assert await handled(db, older) == ("superseded", [])
    late = await handle(older, cast(ContactDeps, _blind(db)), Turn(NOW))
    async with db.acquire() as conn, conn.transaction():
        assert list(await record(conn, late.rows)) == []
    found = await row(db)
    assert (found["event_id"], found["reason"]) == (newer.id, "no issues")


def _blind(db: Pool) -> SimpleNamespace:
    """As `deps_of`, but the row is not seen: another process writes it meanwhile."""
    real = deps_of(db)

    async def applicant(id: str) -> Known:
        return Known((await real.applicant(id)).order)

    return SimpleNamespace(settings=real.settings, applicant=applicant)


async def test_a_dead_letter_leaves_the_report_as_failed(db: Pool) -> None:
    event = a_report()
    assert WORKER.buried(event._replace(data=b'{"applicantId": "apl_2"}'), Refused("no"), Turn(NOW)) == ()
    async with db.acquire() as conn, conn.transaction():
        assert list(await record(conn, WORKER.buried(event, Refused("no"), Turn(NOW)))) == []
    found = await row(db)
    assert (found["status"], found["reason"]) == ("failed", "no")


async def test_of_several_orders_the_newest_that_stands_counts(db: Pool) -> None:
    canceled = an_order("IL3", "apl_2", changed=NOW)
    canceled["order"]["status"] = "Canceled"
    await stored(db, an_order("IL1", "apl_2", changed=NOW - 3 * HOUR), an_order("IL2", "apl_1", "apl_2"), canceled)
    _, (told,) = await handled(db, a_report())
    assert told.json()["order_id"] == "IL2"


async def test_reports_lock_people_in_the_order_of_their_ids_as_orders_do(db: Pool) -> None:
    async with db.acquire() as conn, conn.transaction():
        people = await contacts.ensure(conn, ["+972505550101", "+972505550102"])
    (low, low_phone), (high, high_phone) = sorted((contact, phone) for phone, contact in people.items())
    rows: list[Any] = []
    for applicant, phone in (
        ("apl_1", high_phone),
        ("apl_2", low_phone),
    ):  # the person of the first row has the higher id
        await stored(db, an_order(f"IL-{applicant}", applicant, phone=phone))
        outcome = await handle(a_report(applicant), deps_of(db), Turn(NOW))
        rows += outcome.rows

    async def report() -> None:
        async with db.acquire() as conn, conn.transaction():
            await record(conn, rows)

    async def report_waits() -> bool:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(await db.fetchval(waiting))

    async with db.acquire() as conn, conn.transaction():
        lock = "SELECT FROM contacts WHERE id = $1 FOR UPDATE"
        await conn.execute(lock, low)
        reporting = asyncio.create_task(report())
        await until(report_waits, "a report that waits for the person")
        await conn.execute(lock, high)
    await reporting


@pytest.mark.parametrize(
    ("applicants", "name"),
    [
        (["apl_2", "apl_3"], "APL_2 EXAMPLE"),
        ([None, 7, "x", [], {"id": 2}, {"id": "apl_2", "passport": []}], None),
        ([{"id": "apl_2", "passport": {"firstName": "", "lastName": None}}], None),
        ([{"id": "apl_2", "passport": "none"}], None),
        ([{"id": "apl_2"}], None),
    ],
    ids=str,
)
async def test_an_applicant_is_found_among_any_others_and_named_where_there_is_a_name(
    db: Pool, applicants: list[Any], name: str | None
) -> None:
    body = an_order("IL1", "apl_9", alerts=True)
    body["form"]["applicants"] = [an_applicant(one) if str(one).startswith("apl_") else one for one in applicants]
    await stored(db, body)
    found, other = await applicant_issues.known(db, ["apl_2", "apl_8"])
    assert found.order is not None
    assert (found.order.order_id, found.order.applicant_name) == ("IL1", name)
    assert other.order is None


ORDERS = """
INSERT INTO orders (order_id, client_phone_e164, ordered_at, webhook_received_at, raw_body, applicants_data)
SELECT 'IL' || n, '+97250' || lpad(n::text, 7, '0'), now(), now(), '{}',
  jsonb_build_array(jsonb_build_object('id', 'apl_' || n), jsonb_build_object('id', 'apl_b' || n))
FROM generate_series($1::int, $2::int) n
"""
ISSUES = """
INSERT INTO applicant_issues (applicant_id, event_id, status, issues, reported_at, raw_body)
SELECT 'apl_' || n, 'e', 'reported', '{}', now(), '{}' FROM generate_series($1::int, $2::int) n
"""


async def test_the_order_of_an_applicant_is_found_by_index_also_by_a_plan_made_for_few_orders(db: Pool) -> None:
    asked = "ARRAY['apl_3', 'apl_b2222']"
    async with db.acquire() as conn:
        for table in ("orders", "applicant_issues"):
            await conn.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        await conn.execute("SET plan_cache_mode = force_generic_plan")  # the server comes to it by itself
        async with conn.transaction():
            await conn.execute(BY_INDEX)
            for fill in (ORDERS, ISSUES):
                await conn.execute(fill, 1, 20)
            await conn.execute(f"PREPARE asked (text[]) AS {applicant_issues._FIND}")
            await conn.execute(f"EXECUTE asked ({asked})")
            for fill in (ORDERS, ISSUES):
                await conn.execute(fill, 21, 4_000)
            told = await conn.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked ({asked})")
        assert await conn.fetchval("SELECT generic_plans FROM pg_prepared_statements WHERE name = 'asked'") > 0
    (plan,) = json.loads(told)
    read = list(nodes(plan["Plan"]))
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in read) < 40, json.dumps(plan["Plan"], indent=1)
    assert "idx_orders_applicant_ids" in {node.get("Index Name") for node in read}
    assert "Seq Scan" not in {node["Node Type"] for node in read}
