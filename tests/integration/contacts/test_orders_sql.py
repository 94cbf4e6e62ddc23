"""Orders, contacts and identities on a real Postgres: batches, repeats, races, and which order is the
newest."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import asyncpg
import pytest

from adapters.postgres import contacts, order_marks, orders
from adapters.postgres.contacts import Buyer
from adapters.postgres.order_marks import LONGEST_ERROR, Syncing, SyncResult, Waiting
from adapters.postgres.orders import row_of
from adapters.postgres.pool import Pool
from daemon.contacts.recording import record
from daemon.sandbox.orders import make_order
from schemas.orders import Order, order_from
from schemas.phone import Phone
from tests.support.people import partition

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def an_order(n: int = 1, **overrides: Any) -> Order:
    return order_from(json.dumps(make_order(Random(n), n, **overrides)).encode(), NOW)


def a_buyer(n: int = 1, **changes: Any) -> Buyer:
    given: dict[str, Any] = {
        "phone": Phone(f"+97250555{n:04d}"),
        "age": (NOW, NOW, f"IL{n}"),
        "synced_at": NOW,
        "name": f"Buyer {n}",
        "email": f"buyer{n}@example.com",
        "cgb_id": f"97250555{n:04d}",
    }
    return Buyer(**given | changes)


async def recorded(db: Pool, *rows: object) -> None:
    async with db.acquire() as conn, conn.transaction():
        await record(conn, [row_of(row, row.order_id) if isinstance(row, Order) else row for row in rows])


async def kept_row(db: Pool, order_id: str) -> asyncpg.Record:
    row = await db.fetchrow("SELECT * FROM orders WHERE order_id = $1", order_id)
    assert row is not None
    return row


async def test_every_field_of_an_order_is_kept(db: Pool) -> None:
    order = an_order(country="india", branch="il", amount=420.5, phone={"code": "972", "number": "050-555-0142"})
    await recorded(db, order)
    row = await kept_row(db, order.order_id)
    for name in Order.__slots__:
        if name in ("phone", "received_at", "placed_at", "stay_limit", "corrected_at"):
            continue
        value, kept = getattr(order, name), row[name]
        if kept is not None and (name.endswith("_data") or name == "client_phone_raw"):
            assert json.loads(kept) == json.loads(json.dumps(value, default=float)), name
        else:
            assert kept == value, name
    assert (row["client_phone"], row["client_phone_e164"]) == ("972505550142", "+972505550142")
    assert row["amount"] == Decimal("420.5")
    assert isinstance(row["entry_date"], date)
    assert row["webhook_received_at"] == NOW
    assert row["cgb_sync_status"] == "pending"


async def test_numbers_in_json_are_kept_as_they_came(db: Pool) -> None:
    body = make_order(Random(1), 1, order_id="IL1")
    text = json.dumps(body).replace('"meta": {', '"meta": {"huge": 123456789012345678901234567890, "price": 0.10, ')
    await recorded(db, order_from(text.encode(), NOW))
    kept = json.loads((await kept_row(db, "IL1"))["form_meta_data"])
    assert (kept["huge"], kept["price"]) == (123456789012345678901234567890, 0.1)


async def test_a_result_counts_before_a_beginning_and_says_whose_the_order_is(db: Pool) -> None:
    result = SyncResult(order_id="IL1", status="synced", at=NOW, contact_id="c", contact_exists=False)
    await recorded(db, an_order(order_id="IL1"), result, Syncing("IL1", NOW, False), a_buyer(1))
    row = await kept_row(db, "IL1")
    assert (row["cgb_sync_status"], row["cgb_contact_id"], row["cgb_contact_exists"]) == ("synced", "c", False)
    assert row["cbb_contact_uuid"] == await db.fetchval("SELECT id FROM contacts")
    assert (row["cgb_sync_completed_at"], row["processed_at"]) == (NOW, NOW)


async def test_every_destination_can_be_stored_in_one_batch(db: Pool) -> None:
    batch = [an_order(n) for n in range(1, 60)]
    await recorded(db, *batch)
    assert await db.fetchval("SELECT count(*) FROM orders") == len({order.order_id for order in batch})


async def test_the_same_state_again_leaves_the_order_and_its_sync(db: Pool) -> None:
    result = SyncResult(order_id="IL1", status="synced", at=NOW, contact_id="c")
    await recorded(db, an_order(order_id="IL1"), result)
    before = await kept_row(db, "IL1")
    await recorded(db, an_order(order_id="IL1"))
    assert await kept_row(db, "IL1") == before


async def test_an_applicant_is_found_by_the_index_on_applicants(db: Pool) -> None:
    batch = [an_order(n, order_id=f"IL{n}") for n in range(1, 40)]
    await recorded(db, *batch)
    assert batch[7].applicants_data is not None
    wanted = json.dumps([batch[7].applicants_data[0]["id"]])
    query = "SELECT order_id FROM orders WHERE jsonb_path_query_array(applicants_data, '$[*].id') @> $1::jsonb"
    async with db.acquire() as conn, conn.transaction():
        assert [row[0] for row in await conn.fetch(query, wanted)] == ["IL8"]
        await conn.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(row[0] for row in await conn.fetch(f"EXPLAIN {query}", wanted))
    assert "idx_orders_applicant_ids" in plan


async def test_a_contact_of_which_cgb_itself_says_that_it_is_there_was_there(db: Pool) -> None:
    await recorded(db, an_order(order_id="IL1"), Syncing("IL1", NOW, False))
    told = SyncResult(order_id="IL1", status="synced", at=NOW, contact_id="c", contact_exists=True, told_so=True)
    await recorded(db, told)
    assert (await kept_row(db, "IL1"))["cgb_contact_exists"] is True


async def test_an_order_whose_lookup_has_failed_was_attempted_and_one_that_only_waits_was_not(db: Pool) -> None:
    await recorded(db, an_order(order_id="IL1"), Waiting("IL1", "waits: cgb is paused by an operator"))
    assert (await kept_row(db, "IL1"))["cgb_sync_attempted_at"] is None
    await recorded(db, Waiting("IL1", "waits: the last attempt failed", tried_at=NOW))
    assert (await kept_row(db, "IL1"))["cgb_sync_attempted_at"] == NOW
    await recorded(db, Waiting("IL1", "waits: cgb is paused by an operator"))
    assert (await kept_row(db, "IL1"))["cgb_sync_attempted_at"] == NOW


@pytest.mark.parametrize("applicants", [None, "", [], ["text", 1, None], [{"name": "no id"}], [{"id": {"a": 1}}]])
async def test_applicants_of_any_shape_can_be_kept(db: Pool, applicants: object) -> None:
    body = make_order(Random(1), 1, order_id="IL1")
    body["form"]["applicants"] = applicants
    await recorded(db, order_from(json.dumps(body).encode(), NOW))
    assert await db.fetchval("SELECT count(*) FROM orders") == 1


async def test_whether_the_contact_was_there_is_what_the_first_look_said(db: Pool) -> None:
    order = an_order(order_id="IL1")
    await recorded(db, order, Syncing("IL1", NOW, False))
    row = await kept_row(db, "IL1")
    assert (row["cgb_sync_status"], row["cgb_contact_exists"]) == ("syncing", False)
    assert (row["cgb_sync_attempted_at"], row["cgb_sync_completed_at"]) == (NOW, None)
    later = NOW + DAY
    await recorded(db, order, Syncing("IL1", later, True))
    await recorded(db, SyncResult(order_id="IL1", status="synced", at=later, contact_id="c", contact_exists=True))
    row = await kept_row(db, "IL1")
    assert (row["cgb_sync_status"], row["cgb_contact_exists"]) == ("synced", False)
    assert (row["cgb_sync_attempted_at"], row["cgb_sync_completed_at"]) == (later, later)
    assert row["cgb_contact_id"] == "c"


async def test_a_failed_sync_says_when_and_why_and_is_not_complete(db: Pool) -> None:
    await recorded(db, an_order(order_id="IL1"), SyncResult(order_id="IL1", status="failed", at=NOW, error="x" * 900))
    row = await kept_row(db, "IL1")
    assert (row["cgb_sync_status"], row["cgb_sync_attempted_at"], row["cgb_sync_completed_at"]) == (
        "failed",
        NOW,
        None,
    )
    assert row["cgb_sync_error"] == "x" * LONGEST_ERROR
    await recorded(db, SyncResult(order_id="IL1", status="synced", at=NOW + DAY, contact_id="c"))
    row = await kept_row(db, "IL1")
    assert (row["cgb_sync_error"], row["cgb_sync_completed_at"]) == (None, NOW + DAY)


async def test_an_order_says_what_it_waits_for_until_its_sync_goes_on(db: Pool) -> None:
    order = an_order(1)
    await recorded(db, order)
    await recorded(db, Waiting(order.order_id, "waits: cgb is paused by an operator"))
    row = await kept_row(db, order.order_id)
    assert (row["cgb_sync_status"], row["cgb_sync_error"]) == ("pending", "waits: cgb is paused by an operator")
    assert row["cgb_sync_attempted_at"] is None
    await recorded(db, Syncing(order.order_id, NOW, False))
    await recorded(db, Waiting(order.order_id, "w" * 2 * LONGEST_ERROR))
    row = await kept_row(db, order.order_id)
    assert (row["cgb_sync_status"], row["cgb_sync_error"]) == ("syncing", "w" * LONGEST_ERROR)
    await recorded(db, SyncResult(order_id=order.order_id, status="synced", at=NOW))
    assert (await kept_row(db, order.order_id))["cgb_sync_error"] is None


@pytest.mark.parametrize(("status", "error"), [("synced", None), ("failed", "no")])
async def test_an_order_whose_sync_has_ended_does_not_say_that_it_waits_when_it_is_replayed(
    db: Pool, status: Any, error: str | None
) -> None:
    order = an_order(1)
    await recorded(db, order, SyncResult(order_id=order.order_id, status=status, at=NOW, error=error))
    await recorded(db, Waiting(order.order_id, "waits: cgb is paused by an operator"))
    assert (await kept_row(db, order.order_id))["cgb_sync_error"] == error


async def test_marks_of_unknown_orders_are_passed_over(db: Pool) -> None:
    await recorded(db, Syncing("nope", NOW, True), SyncResult(order_id="nope", status="failed", at=NOW))
    assert await db.fetchval("SELECT count(*) FROM orders") == 0


async def test_a_buyer_becomes_one_person_with_all_identities(db: Pool) -> None:
    order = an_order(order_id="IL1")
    await recorded(db, order, a_buyer(1))
    await recorded(db, order, a_buyer(1))
    person = await db.fetchrow("SELECT * FROM contacts")
    assert person is not None
    assert (person["name"], person["newest_order_id"], person["cgb_synced_at"]) == ("Buyer 1", "IL1", NOW)
    assert await partition(db) == {frozenset({"cgb:972505550001", "email:buyer1@example.com", "phone:+972505550001"})}
    assert (await kept_row(db, "IL1"))["cbb_contact_uuid"] == person["id"]


async def test_people_who_share_an_email_stay_two_and_both_have_it(db: Pool) -> None:
    await recorded(db, a_buyer(1, email="shared@example.com"))
    await recorded(db, a_buyer(2, email="Shared@example.com"))
    assert await partition(db) == {
        frozenset({f"cgb:97250555000{n}", "email:shared@example.com", f"phone:+97250555000{n}"}) for n in (1, 2)
    }


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("backwards", [True, False])
async def test_the_newest_order_wins_in_whatever_order_they_come(db: Pool, together: bool, backwards: bool) -> None:
    buyers = [a_buyer(1, age=(NOW + DAY * n, NOW, f"IL{n}"), name=f"Name {n}") for n in range(3)]
    if backwards:
        buyers.reverse()
    if together:
        await recorded(db, *buyers)
    else:
        for buyer in buyers:
            await recorded(db, buyer)
    person = await db.fetchrow("SELECT name, newest_order_id, newest_order_at FROM contacts")
    assert person is not None
    assert tuple(person) == ("Name 2", "IL2", NOW + DAY * 2)


async def test_a_newer_order_without_name_leaves_the_known_one(db: Pool) -> None:
    await recorded(db, a_buyer(1))
    await recorded(db, a_buyer(1, age=(NOW + DAY, NOW, "IL2"), name=None, email=None))
    person = await db.fetchrow("SELECT name, email, newest_order_id FROM contacts")
    assert person is not None
    assert tuple(person) == ("Buyer 1", "buyer1@example.com", "IL2")


async def test_the_same_people_made_by_many_at_once_are_made_once(db: Pool) -> None:
    rng = Random(3)

    async def a_process(place: int) -> None:
        buyers = [a_buyer(n, age=(NOW + DAY * place, NOW, f"IL{n}-{place}")) for n in range(20)]
        rng.shuffle(buyers)
        for start in range(0, 20, 7):
            await recorded(db, *buyers[start : start + 7])

    await asyncio.gather(*(a_process(place) for place in range(6)))
    assert await db.fetchval("SELECT count(*) FROM contacts") == 20
    assert sum(map(len, await partition(db))) == 60
    assert await db.fetchval("SELECT count(*) FROM contacts WHERE newest_order_id LIKE '%-5'") == 20


async def test_an_empty_batch_writes_nothing(db: Pool) -> None:
    async with db.acquire() as conn:
        await orders.insert(conn, [])
        await order_marks.mark(conn, [], {})
        assert await contacts.remember(conn, []) == {}
        assert await contacts.ensure(conn, []) == {}
