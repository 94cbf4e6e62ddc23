"""What a user of the pool leaves behind stays with it, none waits for ever, and errors tell whose fault they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from adapters.postgres import pool
from adapters.postgres.pool import Pool, connect, locking, refuses_data, store_is_down
from tests.support.until import until


async def test_a_connection_is_waited_for_only_so_long_when_all_are_in_use(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "QUEUE_TIMEOUT_S", 0.2)
    async with connect(database_url, size=2) as small:
        async with small.acquire(), small.acquire():
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(small.execute("SELECT 1"), 30)
            assert time.monotonic() - began < 10
        await small.execute("SELECT 1")  # who comes later is served


REFUSED: dict[str, Callable[[Pool], Awaitable[object]]] = {
    "U+0000": lambda db: db.fetchval("SELECT $1::text", "a\x00b"),
    "a lone surrogate": lambda db: db.fetchval("SELECT $1::text", "\ud800"),
    "another type": lambda db: db.fetchval("SELECT $1::int", "one"),
    "a number that is too large": lambda db: db.fetchval("SELECT $1::int", 2**40),
    "a missing value": lambda db: db.execute("INSERT INTO refused_requests (source) VALUES ('x')"),
}


@pytest.mark.parametrize("asked", REFUSED.values(), ids=REFUSED.keys())
async def test_what_no_store_can_hold_is_the_fault_of_the_data(
    db: Pool, asked: Callable[[Pool], Awaitable[object]]
) -> None:
    with pytest.raises(Exception) as caught:
        await asked(db)
    assert refuses_data(caught.value)
    assert not store_is_down(caught.value)


async def test_a_store_that_is_not_as_it_should_be_is_not_the_fault_of_the_data(db: Pool) -> None:
    for statement in ("SELECT * FROM nothing_here", "SELECT pg_terminate_backend(pg_backend_pid())"):
        with pytest.raises(Exception) as caught:
            await db.execute(statement)
        assert not refuses_data(caught.value)


_LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 7 AND objid = 7"


class Broken(Exception):
    """Ends a block in the middle."""


async def test_a_session_lock_is_released_when_its_block_ends_however_it_ends(db: Pool, database_url: str) -> None:
    async with connect(database_url, size=1) as own:
        async with locking(own) as conn:
            await conn.execute("SELECT pg_advisory_lock(7, 7)")
            assert await db.fetchval(_LOCKS) == 1
        assert await own.fetchval(_LOCKS) == 0

        async def break_off() -> None:
            async with locking(own) as conn:
                await conn.execute("SELECT pg_advisory_lock(7, 7)")
                raise Broken

        with pytest.raises(Broken):
            await break_off()
        assert await own.fetchval("SELECT pg_try_advisory_lock(7, 7)") is True


async def test_a_transaction_that_is_left_open_is_rolled_back_before_the_next_user(database_url: str) -> None:
    async with connect(database_url, size=1) as own:
        async with own.acquire() as conn:
            await conn.execute("BEGIN")
            await conn.execute("CREATE TABLE left_open (n int)")
        assert await own.fetchval("SELECT to_regclass('left_open')") is None


async def test_the_connections_of_a_burst_are_closed_when_nothing_has_used_them_for_a_while(
    database_url: str, db: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "IDLE_S", 0.2)

    async def opened() -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'burst'"
        return int(await db.fetchval(query))

    async with connect(database_url, size=8, name="burst") as own:
        await asyncio.gather(*(own.execute("SELECT pg_sleep(0.2)") for _ in range(8)))
        assert await opened() == 8

        async def one_is_left() -> bool:
            await own.execute("SELECT 1")
            return await opened() == 1

        await until(one_is_left, "a pool with one connection")


async def test_the_limits_of_the_server_hold_on_every_connection(database_url: str) -> None:
    async with connect(database_url, size=2) as own, own.acquire() as one, own.acquire() as other:
        for conn in (one, other):
            assert await conn.fetchval("SHOW statement_timeout") == "30s"
            assert await conn.fetchval("SHOW idle_in_transaction_session_timeout") == "3s"
