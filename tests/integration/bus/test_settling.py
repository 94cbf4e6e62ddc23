"""After a loss no process goes on before every process that lives has published what it alone knew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
from redis.asyncio import Redis

from adapters.postgres.bus import partitions
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.bus import recovery
from daemon.bus.marks import MARK
from daemon.bus.recovery import Recovery
from tests.support.until import until


class Intake:
    """What recovery holds back."""

    held = False

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False


class One:
    """A process, as far as recovery is concerned."""

    def __init__(self, db: Pool, redis: Redis) -> None:
        self.intake = Intake()
        self.streams = Streams(redis, 2, recovers=True)
        self.recovery = Recovery(db, self.streams, self.intake, days=1)

    def holds_back(self) -> bool:
        return self.intake.held and self.streams.appends.trusted_since() is None


@pytest.fixture
async def both(
    db: Pool, redis: Redis, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[One, One]]:
    """Two processes that live, and know the mark."""
    monkeypatch.setattr(recovery, "SETTLE_S", 0.05)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            conn = await asyncpg.connect(database_url)
            stack.push_async_callback(conn.close)
            assert await partitions.take_part(conn)
        made = One(db, redis), One(db, redis)
        for one in made:
            await one.recovery.begin()
        await made[0].recovery.check()
        yield made


async def test_the_process_that_mends_waits_for_the_others(both: tuple[One, One], redis: Redis) -> None:
    first, second = both
    await redis.flushall()
    mending = asyncio.create_task(first.recovery.check())
    done, _ = await asyncio.wait({mending}, timeout=1.0)  # twenty times as long as a process that lives alone waits
    assert not done
    assert first.holds_back()
    await second.recovery.check()
    async with asyncio.timeout(5):
        await mending
    assert not first.holds_back()
    assert not second.holds_back()


async def test_a_silent_process_is_not_waited_for_without_end(
    both: tuple[One, One], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "LONGEST_SETTLE_S", 0.5)
    first, _ = both
    await redis.flushall()
    async with asyncio.timeout(5):
        await first.recovery.check()
    assert not first.holds_back()


async def test_another_loss_ends_the_waiting_for_the_others(both: tuple[One, One], redis: Redis) -> None:
    first, second = both
    await redis.flushall()
    mending = asyncio.create_task(first.recovery.check())

    async def marked() -> bool:
        return await redis.get(MARK) is not None

    await until(marked)
    await redis.flushall()
    async with asyncio.timeout(5):
        await mending
    mending = asyncio.create_task(first.recovery.check())  # sees it, and waits again
    done, _ = await asyncio.wait({mending}, timeout=0.5)
    assert not done
    async with asyncio.timeout(5):
        await asyncio.gather(mending, second.recovery.check())
