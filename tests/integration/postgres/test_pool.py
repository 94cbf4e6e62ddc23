"""The pool's connections: what a user of one leaves behind does not reach the next."""

from __future__ import annotations

import pytest

from adapters.postgres.pool import Pool, connect, locking

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
