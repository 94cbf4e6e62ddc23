"""What is known of numbers on WhatsApp, on a real Postgres: which evidence stays, and what orders show of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import permutations, product
from random import Random
from typing import Any

import asyncpg
import pytest

from adapters.postgres import whatsapp_checks
from adapters.postgres.order_marks import Syncing, SyncResult
from adapters.postgres.orders import OrderRow, row_of
from adapters.postgres.pool import Connection, Pool
from daemon.contacts import recording, whatsapp_validation
from daemon.contacts.validation import Terms, heavier
from daemon.sandbox.orders import make_order
from schemas.orders import order_from
from schemas.phone import Phone
from schemas.whatsapp import Evidence, EvidenceSource
from tests.support.until import until

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
PHONE = Phone("+972505550001")
TERMS = Terms(yes_days=90, no_days=14)


def evidence(has_whatsapp: bool, source: EvidenceSource = "cgb", at: datetime = NOW, phone: Phone = PHONE) -> Evidence:
    return TERMS.evidence(phone, has_whatsapp, source, at)


def an_order(order_id: str = "IL1", *, number: str = "505550001", code: str = "972", revision: int = 0) -> OrderRow:
    body = make_order(Random(1), 1, order_id=order_id, branch="il", phone={"code": code, "number": number})
    body["form"]["meta"]["revision"] = revision
    return row_of(order_from(json.dumps(body).encode(), NOW), f"{order_id}-{revision}")


def synced(order_id: str = "IL1", **more: Any) -> SyncResult:
    return SyncResult(order_id=order_id, status="synced", at=NOW, contact_id="c", **more)


async def recorded(db: Pool, *rows: object) -> None:
    async with db.acquire() as conn, conn.transaction():
        await recording.record(conn, rows)


async def learned(db: Pool, *told: Evidence) -> None:
    async with db.acquire() as conn, conn.transaction():
        await whatsapp_validation.record(conn, told)


async def shown(db: Pool, order_id: str = "IL1") -> tuple[str, bool | None]:
    row = await db.fetchrow("SELECT cgb_sync_status, cgb_has_whatsapp FROM orders WHERE order_id = $1", order_id)
    assert row is not None
    return row[0], row[1]


async def known(db: Pool, phone: Phone = PHONE) -> Evidence | None:
    (found,) = await whatsapp_checks.known_of(db, [phone])
    return found


ALL = [
    evidence(True, "message", NOW - 2 * DAY),
    evidence(False, "cgb", NOW - 2 * DAY),
    evidence(False, "delivery", NOW - DAY),
    evidence(True, "whapi", NOW - DAY),
    evidence(False, "offline", NOW),
]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("chosen", [(0, 1, 2), (1, 2, 3), (0, 1, 4), (2, 3, 4)])
@pytest.mark.parametrize("together", [True, False])
async def test_the_table_keeps_what_the_rule_says_in_any_order_of_arrival(
    db: Pool, chosen: tuple[int, ...], order: Sequence[int], together: bool
) -> None:
    told = [ALL[chosen[n]] for n in order]
    if together:
        await learned(db, *told)
    else:
        for one in told:
            await learned(db, one)
    wanted: Evidence | None = None
    for one in told:
        wanted = heavier(wanted, one)
    assert await known(db) == wanted


@pytest.mark.parametrize(("one", "other"), list(product(ALL, ALL)), ids=lambda e: f"{e.source}-{e.has_whatsapp}")
async def test_of_two_pieces_of_evidence_the_table_keeps_the_heavier(db: Pool, one: Evidence, other: Evidence) -> None:
    await learned(db, one)
    await learned(db, other)
    assert await known(db) == heavier(one, other)


async def test_every_notation_of_a_line_is_known_by_the_same_evidence(db: Pool) -> None:
    await recorded(db, an_order("BR1", code="55", number="11987654321"), synced("BR1"))
    await recorded(db, an_order("BR2", code="55", number="1187654321"), synced("BR2"))
    phones = {row[0] for row in await db.fetch("SELECT client_phone_e164 FROM orders")}
    await learned(db, evidence(False, phone=Phone("+551187654321")))
    for phone in phones:
        found = await known(db, Phone(phone))
        assert found is not None
        assert found.has_whatsapp is False
    assert await shown(db, "BR1") == await shown(db, "BR2") == ("no_whatsapp", False)


@pytest.mark.parametrize(
    ("rows", "status", "then"),
    [
        ((), "pending", "pending"),
        ((Syncing("IL1", NOW, False),), "syncing", "syncing"),
        ((SyncResult(order_id="IL1", status="failed", at=NOW, error="refused"),), "failed", "failed"),
        ((synced(),), "synced", "no_whatsapp"),
    ],
)
async def test_a_no_reaches_every_order_and_changes_the_status_of_what_is_synced_alone(
    db: Pool, rows: tuple[object, ...], status: str, then: str
) -> None:
    await recorded(db, an_order(), *rows)
    assert await shown(db) == (status, None)
    await learned(db, evidence(False))
    assert await shown(db) == (then, False)
    await learned(db, evidence(True, "message", NOW + DAY))
    assert await shown(db) == (status, True)


async def test_orders_of_other_numbers_are_left_alone(db: Pool) -> None:
    await recorded(db, an_order("IL1"), an_order("IL2", number="505550002"), synced("IL1"), synced("IL2"))
    await learned(db, evidence(False))
    assert [await shown(db, one) for one in ("IL1", "IL2")] == [("no_whatsapp", False), ("synced", None)]


async def test_an_order_that_is_synced_while_its_number_is_known_as_no_ends_so(db: Pool) -> None:
    await learned(db, evidence(False))
    await recorded(db, an_order())
    assert await shown(db) == ("pending", False)
    await recorded(db, Syncing("IL1", NOW, False))
    assert await shown(db) == ("syncing", False)
    await recorded(db, synced())
    assert await shown(db) == ("no_whatsapp", False)
    row = await db.fetchrow("SELECT cgb_sync_completed_at, cgb_contact_id FROM orders")
    assert row is not None
    assert tuple(row) == (NOW, "c")


async def test_what_has_expired_is_shown_by_no_order(db: Pool) -> None:
    await learned(db, evidence(False, at=NOW - 15 * DAY))
    await recorded(db, an_order(), synced())
    assert await shown(db) == ("synced", None)
    await learned(db, evidence(False))
    assert await shown(db) == ("no_whatsapp", False)


async def test_an_answer_that_had_expired_meanwhile_reaches_the_orders_when_it_is_given_again(db: Pool) -> None:
    await learned(db, evidence(False, at=NOW - 13 * DAY))
    await db.execute("UPDATE whatsapp_checks SET expires_at = now()")
    await recorded(db, an_order(), synced())
    assert await shown(db) == ("synced", None)
    await learned(db, evidence(False))
    assert await shown(db) == ("no_whatsapp", False)


async def test_a_result_of_a_replaced_state_shows_nothing_else(db: Pool) -> None:
    await learned(db, evidence(False))
    await recorded(db, an_order())
    await recorded(db, synced(event_id="of another state"))
    assert await shown(db) == ("pending", False)


async def test_a_corrected_phone_takes_the_answer_of_the_other_number(db: Pool) -> None:
    await learned(db, evidence(False), evidence(True, phone=Phone("+972505550002")))
    await recorded(db, an_order(), synced())
    assert await shown(db) == ("no_whatsapp", False)
    await recorded(db, an_order(number="505550002", revision=1))
    assert await shown(db) == ("pending", True)
    await recorded(db, an_order(number="505550003", revision=2))
    assert await shown(db) == ("pending", None)


@asynccontextmanager
async def held_open(db: Pool, kind: str, *rows: object) -> AsyncIterator[Connection]:
    """The transaction of one of the two workers, written and not yet committed: it commits with the context."""
    async with db.acquire() as conn, conn.transaction():
        await (recording.record if kind == "sync" else whatsapp_validation.record)(conn, rows)
        yield conn


async def _waits(db: Pool) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await db.fetchval(waiting))


@pytest.mark.parametrize("there", [True, False], ids=["stored before", "stored with its end"])
@pytest.mark.parametrize("first", ["sync", "answer"])
async def test_two_workers_that_commit_at_once_end_right_whichever_is_first(db: Pool, first: str, there: bool) -> None:
    """Promise: neither order of the commits leaves an order synced whose number is known as a no."""
    ends: list[object] = [synced()]
    if there:
        await recorded(db, an_order())
    else:
        ends.insert(0, an_order())
    if first == "sync":
        async with held_open(db, "sync", *ends):
            second = asyncio.create_task(learned(db, evidence(False)))
            await until(lambda: _waits(db), "the answer waits for the order")
    else:
        async with held_open(db, "answer", evidence(False)):
            second = asyncio.create_task(recorded(db, *ends))
            await until(lambda: _waits(db), "the order waits for the answer")
    await second
    assert await shown(db) == ("no_whatsapp", False)


async def test_an_answer_that_commits_while_its_order_is_stored_is_shown_by_it(db: Pool) -> None:
    async with held_open(db, "sync", an_order()):
        second = asyncio.create_task(learned(db, evidence(False)))
        await until(lambda: _waits(db), "the answer waits for the order")
    await second
    assert await shown(db) == ("pending", False)


async def test_a_further_message_waits_for_no_order(db: Pool) -> None:
    """Promise: only another answer takes the lock, so a stream of messages holds up no sync."""
    await learned(db, evidence(True, "message", NOW - DAY))
    async with held_open(db, "sync", an_order(), synced()):
        await asyncio.wait_for(learned(db, evidence(True, "message")), 10)
    assert await known(db) == evidence(True, "message")


async def test_many_workers_at_once_meet_no_deadlock_and_leave_no_wrong_status(db: Pool) -> None:
    rng = Random(7)
    numbers = [f"5055500{n:02d}" for n in range(10, 20)]
    await recorded(db, *(an_order(f"IL{n}", number=n) for n in numbers))

    async def syncs() -> None:
        for _ in range(15):
            chosen = rng.sample(numbers, 4)
            await recorded(db, *(synced(f"IL{n}") for n in chosen), *(Syncing(f"IL{n}", NOW, True) for n in chosen[:1]))

    async def answers(seed: int) -> None:
        for round_ in range(15):
            chosen = rng.sample(numbers, 4)
            at = NOW + timedelta(seconds=round_ * 10 + seed)
            await learned(
                db, *(evidence(rng.random() < 0.5, "message", at, Phone(f"+972{number}")) for number in chosen)
            )

    await asyncio.gather(*(syncs() for _ in range(3)), *(answers(n) for n in range(3)))
    rows: list[asyncpg.Record] = await db.fetch(
        "SELECT cgb_sync_status, cgb_has_whatsapp, has_whatsapp FROM orders"
        " LEFT JOIN whatsapp_checks ON phone = client_phone_e164"
    )
    assert len(rows) == 10
    for status, has_whatsapp, answer in rows:
        assert has_whatsapp is answer
        assert status != ("no_whatsapp" if answer is not False else "synced")
