"""One end of an event for each worker, also where two processes commit copies of it at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from adapters.postgres.bus import epochs, inbox
from adapters.postgres.bus.days import ensure_days
from adapters.postgres.bus.inbox import InboxRow
from adapters.postgres.migrate import migrate
from adapters.postgres.pool import Pool
from tests.support.until import until

ROW = InboxRow("orders:1", "", "done", None, 0, b"x")

# A clock of our own: the search path puts it before the server's.
_CLOCK = """
CREATE SCHEMA clocked;
CREATE FUNCTION clocked.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT current_setting('clocked.now')::timestamptz $$;
"""
LEASES = "INSERT INTO leases (worker, partition, epoch, owner) VALUES ('toy', 0, 1, 'a'), ('toy', 1, 1, 'b')"
BEFORE_MIDNIGHT = "2026-03-01 23:59:59.9+00"
AFTER_MIDNIGHT = "2026-03-02 00:00:00.1+00"


@asynccontextmanager
async def clocked(database_url: str, at: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection on whose clock it is *at*."""
    conn = await asyncpg.connect(database_url)
    try:
        await conn.execute(f"SET search_path = clocked, pg_catalog; SET clocked.now = '{at}'; SET timezone = 'UTC'")
        yield conn
    finally:
        await conn.close()


async def _waits(db: Pool, kind: str) -> bool:
    """Whether a session of this database waits for a lock of *kind*."""
    return bool(
        await db.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND wait_event = $1 AND datname = current_database()",
            kind,
        )
    )


async def test_of_two_commits_at_once_the_second_has_no_end_to_write(db: Pool) -> None:
    await ensure_days(db)
    async with db.acquire() as first, db.acquire() as second:
        async with first.transaction():
            assert await inbox.insert(first, "toy", [ROW]) == {("orders:1", "")}
            other = asyncio.create_task(inbox.insert(second, "toy", [ROW]))
            await until(lambda: _waits(db, "transactionid"))
        assert await other == set()
    assert await db.fetchval("SELECT count(*) FROM inbox") == 1


async def test_of_two_commits_parted_by_midnight_the_second_has_no_end_to_write(db: Pool, database_url: str) -> None:
    await db.execute(_CLOCK)
    async with clocked(database_url, BEFORE_MIDNIGHT) as first, clocked(database_url, AFTER_MIDNIGHT) as second:
        await migrate(first)
        for day, next_day in (("20260301", "20260302"), ("20260302", "20260303")):
            await first.execute(
                f"CREATE TABLE inbox_p{day} PARTITION OF inbox (PRIMARY KEY (event_id, worker, replay_id))"
                f" FOR VALUES FROM ('{day}') TO ('{next_day}')"
            )
        await first.execute(LEASES)

        async def commit_second() -> set[tuple[str, str]]:
            async with second.transaction():
                await epochs.current(second, "toy", [1])
                return await inbox.insert(second, "toy", [ROW])

        async with first.transaction():
            await epochs.current(first, "toy", [0])
            assert await inbox.insert(first, "toy", [ROW]) == {("orders:1", "")}
            other = asyncio.create_task(commit_second())
            await until(lambda: _waits(db, "advisory"))
        assert await other == set()
        assert await first.fetchval("SELECT count(*) FROM inbox") == 1


async def test_at_other_times_commits_of_a_worker_wait_for_no_other(db: Pool) -> None:
    await db.execute(LEASES)
    midday = "SELECT set_config('clocked.now', '2026-03-01 12:00+00', false)"
    await db.execute(_CLOCK)
    async with db.acquire() as first, db.acquire() as second:
        for conn in (first, second):
            await conn.execute("SET search_path = clocked, pg_catalog, public")
            await conn.execute(midday)
        async with first.transaction(), second.transaction():
            assert await epochs.current(first, "toy", [0]) == {0: 1}
            async with asyncio.timeout(5):
                assert await epochs.current(second, "toy", [1]) == {1: 1}
