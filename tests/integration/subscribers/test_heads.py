"""The line of a key: what is added, ended and taken up again at the same time leaves nothing behind, and reads few rows
however many wait."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Final

from adapters.postgres import subscribers, webhook_deliveries
from adapters.postgres.operator import webhooks
from adapters.postgres.pool import Pool
from adapters.postgres.webhook_deliveries import Due, New, Tried
from tests.support.plans import assert_reads_few

NOW: Final = datetime(2031, 2, 14, 12, tzinfo=UTC)
LATER: Final = NOW + timedelta(days=1)


async def subscriber(db: Pool, name: str = "shop") -> int:
    async with db.acquire() as conn:
        row = await subscribers.add(conn, name, "https://hooks.example/", ["message.*"], False, b"", "k", "tests")
    assert row is not None
    return row.id


async def add(db: Pool, id: int, *events: tuple[str, str]) -> None:
    async with db.acquire() as conn, conn.transaction():
        rows = [New(id, event, "", "message.sent", key, "{}") for event, key in events]
        await webhook_deliveries.add(conn, rows, NOW)


async def end(db: Pool, id: int, due: Due, state: str = "delivered") -> None:
    tried = Tried(due.id, due.key, state, due.attempts + 1, NOW, 200, "", "", 1)
    async with db.acquire() as conn, conn.transaction():
        await webhook_deliveries.record(conn, id, [tried], NOW)


async def test_of_a_key_one_is_due_at_a_time(db: Pool) -> None:
    id = await subscriber(db)
    await add(db, id, ("a1", "a"), ("a2", "a"), ("b1", "b"))
    await add(db, id, ("a3", "a"))
    found = await webhook_deliveries.heads(db, id, NOW, 10, [])
    assert [due.event_id for due in found] == ["a1", "b1"]
    assert [due.event_id for due in await webhook_deliveries.heads(db, id, NOW, 10, [found[0].id])] == ["b1"]
    await end(db, id, found[0])
    assert [due.event_id for due in await webhook_deliveries.heads(db, id, NOW, 10, [])] == ["a2", "b1"]


async def test_whoever_adds_while_the_head_ends_leaves_nothing_stuck(db: Pool) -> None:
    id, chance = await subscriber(db), random.Random(7)
    keys, added, ended = ["a", "b", "c"], 0, 0

    async def adding(name: int) -> None:
        nonlocal added
        for n in range(60):
            some = [(f"{name}-{n}-{i}", chance.choice(keys)) for i in range(chance.randint(1, 3))]
            await add(db, id, *some)
            added += len(some)

    async def ending() -> None:
        nonlocal ended
        idle = 0
        while idle < 20:
            found = await webhook_deliveries.heads(db, id, NOW, 10, [])
            idle = 0 if found or adders_work() else idle + 1
            for due in found:
                await end(db, id, due, chance.choice(["delivered", "failed"]))
                ended += 1
            await asyncio.sleep(0)

    adders = [asyncio.create_task(adding(n)) for n in range(3)]

    def adders_work() -> bool:
        return not all(task.done() for task in adders)

    await asyncio.gather(ending(), *adders)
    assert ended == added
    assert await db.fetchval("SELECT count(*) FROM webhook_deliveries WHERE state = 'waiting'") == 0


async def test_failed_ones_that_wait_again_while_others_end_are_all_sent(db: Pool) -> None:
    id = await subscriber(db)
    await add(db, id, *[(f"e{n}", "a") for n in range(10)])
    for _ in range(4):
        (due,) = await webhook_deliveries.heads(db, id, NOW, 10, [])
        await end(db, id, due, "failed")
    async with db.acquire() as conn, conn.transaction():
        await webhooks.retry(conn, webhooks.Wanted(id), 100, NOW)
    sent = []
    while found := await webhook_deliveries.heads(db, id, NOW, 10, []):
        assert len(found) == 1
        sent.append(found[0].event_id)
        await end(db, id, found[0])
    assert sent == [f"e{n}" for n in range(10)]


LINES: Final = """
INSERT INTO webhook_deliveries (subscriber_id, event_id, type, key, body, state, next_at, ended_at)
SELECT s.id, kind || g, 'message.sent', kind || CASE WHEN kind = 'one' THEN 0 ELSE g END, '{}',
       CASE WHEN kind = 'past' THEN 'delivered' ELSE 'waiting' END,
       CASE WHEN kind = 'one' AND g > 1 THEN 'infinity'::timestamptz ELSE now() END,
       CASE WHEN kind = 'past' THEN now() END
FROM subscribers s, unnest(ARRAY['one', 'many', 'past']) AS kind, generate_series($1::int, $2::int) AS g
"""


async def test_what_is_due_is_read_without_the_rest_of_its_line_or_of_the_past(db: Pool) -> None:
    await subscriber(db)
    await assert_reads_few(
        db,
        ["webhook_deliveries"],
        [LINES],
        20_000,
        webhook_deliveries._HEADS,
        "bigint, timestamptz, int, bigint[]",
        "1, now(), 80, '{}'",
        400,
    )


async def test_the_head_of_a_long_line_is_found_by_itself(db: Pool) -> None:
    await subscriber(db)
    await assert_reads_few(
        db,
        ["webhook_deliveries"],
        [LINES],
        20_000,
        webhook_deliveries._HEAD_IDS,
        "bigint[], text[]",
        "'{1}', '{one0}'",
        20,
    )


async def test_who_has_something_due_is_found_without_reading_what_waits(db: Pool) -> None:
    for name in ("shop", "other"):
        await subscriber(db, name)
    await assert_reads_few(
        db,
        ["webhook_deliveries", "subscribers"],
        [LINES],
        10_000,
        subscribers._LEASE,
        "text, timestamptz, float8, int",
        "'me', now(), 10, 50",
        40,
    )
