"""What a backlog of 1,000,000 events costs a process: `python -m tests.bench.backlog [--json]` (150 s).

The real consumer, as in `tests.bench.bus`, on a server where 1,000,000 small events wait, filled by another process.
Memory: how much its resident size grows from an empty bus, where it has handled 1,000 events, to its peak while it
works on the backlog, 150,000 events on end. Rate: it stands, reads 10,000 events and no more, and all of them are
acknowledged; against the same on a second server where only 10,000 wait. Best of five, the two taking turns.
Bars: 20 MB; 0.9 of the rate at 10,000.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from adapters.postgres.bus import epochs as leases
from adapters.postgres.pool import Pool, connect
from adapters.redis import streams
from adapters.redis.streams import StreamEntry, Streams
from daemon.bus.consumer import Consumer
from daemon.stores.embedded.servers import embedded
from tests.bench import toy
from tests.bench.rig import Cores, Figure, helper, main, stores
from tests.support.bus import FixedLeases, make_shared

BACKLOG: Final = 1_000_000
PART: Final = 10_000
ON_END: Final = 150_000
WARM_UP: Final = 1_000
TIMES: Final = 5
LOOK_S: Final = 0.05
MB: Final = 1_000_000


class Portion:
    """How many entries may still be read, and how many have been read and not acknowledged."""

    def __init__(self) -> None:
        self.left = 0
        self.open = 0
        self.more = asyncio.Event()
        self.over = asyncio.Event()

    async def worked_off(self, count: int) -> float:
        """Let *count* entries go, and what the last read brings beyond; returns how many that were a second."""
        self.left = count
        self.over.clear()
        began = time.perf_counter()
        self.more.set()
        await self.over.wait()
        return (count - self.left) / (time.perf_counter() - began)


class Metered(Streams):
    """Streams that give and take back what *portion* allows."""

    def __init__(self, redis_url: str, portion: Portion, connections: int) -> None:
        super().__init__(streams.client(redis_url, timeout_s=6.0, connections=connections), toy.PARTITIONS)
        self._portion = portion

    async def read(
        self, group: str, positions: Mapping[str, str], *, count: int, epochs: Mapping[int, int]
    ) -> list[StreamEntry]:
        portion = self._portion
        if portion.left <= 0:
            return []
        found = await super().read(group, positions, count=count, epochs=epochs)
        portion.left -= len(found)
        portion.open += len(found)
        return found

    async def wait(self, after: Mapping[str, str], *, block_ms: int) -> bool:
        if self._portion.left > 0:
            return await super().wait(after, block_ms=block_ms)
        self._portion.more.clear()
        try:
            await asyncio.wait_for(self._portion.more.wait(), block_ms / 1000)
        except TimeoutError:
            return False
        return True

    async def ack(self, group: str, entries: Sequence[tuple[str, str]]) -> None:
        await super().ack(group, entries)
        self._portion.open -= len(entries)
        if self._portion.left <= 0 and self._portion.open == 0:
            self._portion.over.set()


@asynccontextmanager
async def consuming(redis_url: str, pool: Pool, owned: FixedLeases) -> AsyncIterator[Portion]:
    """A consumer at work on the server at *redis_url*, as far as its portion goes."""
    portion = Portion()
    async with AsyncExitStack() as stack:
        reads, commands = Metered(redis_url, portion, 1), Metered(redis_url, portion, 16)
        stack.push_async_callback(reads.redis.aclose)
        stack.push_async_callback(commands.redis.aclose)
        await commands.ensure_groups(toy.NAME, toy.KEYS)
        consumer = Consumer(toy.worker(), None, make_shared(pool, commands, owned), reads)
        running = asyncio.create_task(consumer.run())
        try:
            yield portion
        finally:
            consumer.stop()
            await running


def resident() -> float:
    """What this process has in memory, in MB; where the system does not say, the most that it ever had."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most * (1 if sys.platform == "darwin" else 1024) / MB
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


async def peak(seen: list[float]) -> None:
    """Watch the memory, until cancelled; *seen* holds the most."""
    while True:
        seen[0] = max(seen[0], resident())
        await asyncio.sleep(LOOK_S)


async def measure() -> list[Figure]:
    cores = Cores()
    cores.helpers()
    rates: dict[int, list[float]] = {PART: [], BACKLOG: []}
    async with AsyncExitStack() as stack:
        addresses = await stack.enter_async_context(stores())
        other = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ferryman-bench-")))
        small_url = (await stack.enter_async_context(embedded(other / "data", postgres=False))).redis_url
        filler = await stack.enter_async_context(helper("tests.bench.fill"))
        pool = await stack.enter_async_context(connect(addresses.database_url))
        cores.measured()
        await toy.make_table(pool)
        owned = FixedLeases(await leases.take(pool, toy.NAME, range(toy.PARTITIONS), "bench"))
        large = await stack.enter_async_context(consuming(addresses.redis_url, pool, owned))
        await filler.ask(redis_url=addresses.redis_url, run="warm", count=WARM_UP)
        await large.worked_off(WARM_UP)
        gc.collect()
        before = resident()
        await filler.ask(redis_url=addresses.redis_url, run="large", count=BACKLOG)
        most = [before]
        watching = asyncio.create_task(peak(most))
        on_end = await large.worked_off(ON_END)
        grown = most[0] - before
        watching.cancel()
        small = await stack.enter_async_context(consuming(str(small_url), pool, owned))
        for turn in range(TIMES):
            for backlog, portion in ((PART, small), (BACKLOG, large)):
                if backlog == PART:
                    await filler.ask(redis_url=small_url, run=f"small-{turn}", count=PART)
                await pool.execute("TRUNCATE inbox, bench_ends")
                rates[backlog].append(await portion.worked_off(PART))
    best = {backlog: max(many) for backlog, many in rates.items()}
    turns = sorted(large / small for small, large in zip(rates[PART], rates[BACKLOG], strict=True))
    return [
        Figure("backlog: memory before", before, "MB"),
        Figure("backlog: growth of it", grown, "MB", at_most=20.0),
        Figure(f"backlog: {ON_END:,} of 1,000,000 on end", on_end, "events/s"),
        *(Figure(f"backlog: {PART:,} of {backlog:,}", rate, "events/s") for backlog, rate in best.items()),
        Figure(
            "backlog: 1,000,000 / 10,000",
            best[BACKLOG] / best[PART],
            at_least=0.9,
            note=f"by turns {turns[0]:.2f} to {turns[-1]:.2f}",
        ),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
