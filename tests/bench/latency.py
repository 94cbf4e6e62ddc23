"""How soon an event is done on an idle bus: `python -m tests.bench.latency [--json]` (30 s).

From the call that appends an event to its commit, one event at a time. The limit, measured in the same run by turns,
is a minimal loop: one task blocks on XREADGROUP, calls a handler that does nothing, and acknowledges by XACK; measured
from the call of XADD to the answer of XACK. It keeps no results and asks no inbox. Medians. Bar: 2.7 times the loop.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias, cast

from redis.asyncio import Redis

from adapters.postgres.bus import epochs
from adapters.postgres.pool import Pool, connect
from adapters.redis import streams
from adapters.redis.streams import Streams, stream_key
from daemon.bus.consumer import Consumer
from daemon.process import settle_memory
from schemas.envelope import Event, to_fields
from schemas.partitions import partition_of
from tests.bench.bus import KEYS, PARTITIONS, WORKER, events
from tests.bench.rig import Cores, Figure, main, stores
from tests.support.bus import FixedLeases, make_shared

EACH: Final = 200
WARM: Final = 20
TIMES: Final = 3
QUIET_S: Final = 0.01
"""Pause before each event, so that it finds the bus idle."""


Send: TypeAlias = Callable[[Event], Awaitable[None]]


@asynccontextmanager
async def by_hand(redis_url: str, redis: Redis) -> AsyncIterator[Send]:
    """The limit: hands out what sends one event and returns at its acknowledgement."""
    reads = streams.client(redis_url, timeout_s=6.0, connections=1)
    acknowledged, over = asyncio.Event(), asyncio.Event()

    async def nothing(fields: object) -> None:
        return

    async def loop() -> None:
        while not over.is_set():
            answer: Any = await reads.xreadgroup("hand", "owner", dict.fromkeys(KEYS, ">"), count=31, block=1000)
            for key, entries in answer.items():
                for entry_id, fields in entries:
                    await nothing(fields)
                    await redis.xack(key, "hand", entry_id)
                    acknowledged.set()

    async def send(event: Event) -> None:
        acknowledged.clear()
        key = stream_key("orders", partition_of(event.subject, PARTITIONS))
        await cast("Any", redis).execute_command("XADD", key, "*", *to_fields(event))
        await acknowledged.wait()

    task = asyncio.create_task(loop())
    try:
        yield send
    finally:
        over.set()
        await task
        await reads.aclose()


@asynccontextmanager
async def by_ferryman(redis_url: str, bus: Streams, pool: Pool) -> AsyncIterator[Send]:
    """The real thing: hands out what sends one event and returns at its commit."""
    reads = streams.client(redis_url, timeout_s=6.0, connections=1)
    owned = FixedLeases(await epochs.take(pool, WORKER.name, range(PARTITIONS), "bench"))
    consumer = Consumer(WORKER, None, make_shared(pool, bus, owned), Streams(reads, PARTITIONS))
    committed = consumer.lanes.changed

    async def send(event: Event) -> None:
        committed.clear()
        await bus.append([event])
        await committed.wait()

    running = asyncio.create_task(consumer.run())
    try:
        yield send
    finally:
        consumer.stop()
        await running
        await reads.aclose()


async def empty(redis: Redis, bus: Streams) -> None:
    """Empty streams, with both groups."""
    await redis.flushall()
    for group in ("hand", WORKER.name):
        await bus.ensure_groups(group, KEYS)


async def timed(send: Send, batch: Sequence[Event], took: list[float]) -> None:
    """Send *batch* one by one; adds the seconds that each took. The first ones only warm up."""
    for n, event in enumerate(batch):
        await asyncio.sleep(QUIET_S)
        began = time.perf_counter()
        await asyncio.wait_for(send(event), 10)
        if n >= WARM:
            took.append(time.perf_counter() - began)


async def measure() -> list[Figure]:
    cores = Cores()
    cores.helpers()
    hand: list[float] = []
    ours: list[float] = []
    async with stores() as addresses, connect(addresses.database_url) as pool:
        cores.measured()
        redis = streams.client(addresses.redis_url, timeout_s=5.0, connections=16)
        bus = Streams(redis, PARTITIONS)
        await pool.execute("CREATE TABLE bench_results (id text PRIMARY KEY, subject text, data text)")
        settle_memory()
        for turn in range(TIMES):
            await empty(redis, bus)
            batch = events(turn)[: WARM + EACH]
            async with by_hand(addresses.redis_url, redis) as send:
                await timed(send, batch, hand)
            await empty(redis, bus)
            async with by_ferryman(addresses.redis_url, bus, pool) as send:
                await timed(send, batch, ours)
        await redis.aclose()
    limit_ms, ours_ms = 1000 * statistics.median(hand), 1000 * statistics.median(ours)
    return [
        Figure("latency: by hand", limit_ms, "ms"),
        Figure("latency: ferryman, append to commit", ours_ms, "ms"),
        Figure("latency: ferryman / by hand", ours_ms / limit_ms, at_most=2.7),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
