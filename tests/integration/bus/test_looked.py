"""What processes tell one another after a loss is removed when it serves none of them any more."""

from __future__ import annotations

from redis.asyncio import Redis

from adapters.postgres.bus import looked, meta
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.bus.recovery import CHECKPOINT_EVERY, Recovery

GONE = 100


class Intake:
    """Holds nothing back."""

    def hold(self) -> None:
        pass

    def release(self) -> None:
        pass


async def rows(db: Pool) -> int:
    return int(await db.fetchval("SELECT count(*) FROM ferryman_meta WHERE key ^@ 'looked.'"))


async def test_the_rows_of_processes_that_are_gone_are_removed_while_a_process_runs(redis: Redis, db: Pool) -> None:
    recovery = Recovery(db, Streams(redis, 1, recovers=True), Intake(), days=1)
    await recovery.begin()
    mark = await meta.value(db, "mark")
    assert mark is not None
    assert await rows(db) >= 1
    for n in range(GONE):
        await meta.put(db, f"looked.{900_000_000 + n}.gone{n}", mark)
        await meta.put(db, f"looked.{n:032x}", mark)  # as an earlier version wrote it
    for _ in range(CHECKPOINT_EVERY):
        await recovery.check()
    assert await rows(db) <= 2  # of this process, within the last minute
    assert await looked.count(db, mark) == 1


async def test_a_process_counts_once_however_often_it_tells(db: Pool) -> None:
    await looked.tell(db, "one", "m")
    await meta.put(db, "looked.1.one", "m")
    await looked.tell(db, "two", "m")
    await looked.tell(db, "three", "another")
    assert await looked.count(db, "m") == 2
