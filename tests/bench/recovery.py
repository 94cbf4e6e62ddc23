"""How long a killed process's partitions stand still: `python -m tests.bench.recovery [--seed N] [--json]` (90 s).

Two real processes share 16 partitions of a worker and of the journal, under a load that never pauses: every 20 ms an
event for each partition. One of them, drawn by the seed, is killed by SIGKILL at a moment drawn by the seed. Measured
is, for each partition that it held, the time until the other process has ended with the first event of it. Seven kills
with a lease of 2 s, two with the default lease of 10 s. Bar, for the slowest partition: the lease and 1 s.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from adapters.postgres.pool import Pool, connect
from adapters.redis import streams
from adapters.redis.streams import Streams
from schemas.envelope import Event
from schemas.partitions import partition_of
from tests.bench import toy
from tests.bench.rig import Addresses, Figure, main, stores
from tests.support.until import until

KILLS: Final = {2: 7, 10: 2}
"""Seconds of a lease -> how many kills with it."""

EVERY_S: Final = 0.02
_FIRST: Final = """
SELECT partition, extract(epoch FROM min(at))::float8 - $1 AS waited FROM bench_ends
WHERE pid = $2 AND partition = ANY($3::int[]) AND at > to_timestamp($1) GROUP BY partition
"""


def one_each(run: str) -> list[Event]:
    """An event for each partition."""
    found: dict[int, Event] = {}
    for event in toy.events(run, 1000):
        found.setdefault(partition_of(event.subject, toy.PARTITIONS), event)
        if len(found) == toy.PARTITIONS:
            return list(found.values())
    raise AssertionError("a partition that no key belongs to")


@asynccontextmanager
async def load(bus: Streams, run: str) -> AsyncIterator[None]:
    """Events for all partitions, all the time. An error of it is raised in the end."""
    over = asyncio.Event()

    async def feed() -> None:
        number = 0
        while not over.is_set():
            await bus.append(one_each(f"{run}-{number}"))
            number += 1
            try:
                await asyncio.wait_for(over.wait(), EVERY_S)
            except TimeoutError:
                continue

    feeding = asyncio.create_task(feed())
    try:
        yield
    finally:
        over.set()
        await feeding


async def kill_one(pool: Pool, processes: list[toy.Process], rng: random.Random, lease_s: int) -> list[float]:
    """Kill one of *processes*; returns for each of its partitions how many seconds it stood still."""
    await toy.shared(processes)
    await asyncio.sleep(rng.uniform(0, lease_s / 2))  # the moment that was drawn, somewhere between two renewals
    victim = rng.choice(processes)
    survivor = next(one for one in processes if one is not victim)
    lost = sorted(await victim.partitions())
    assert lost
    killed_at = time.time()
    assert await victim.end(signal.SIGKILL) == -signal.SIGKILL
    waited: dict[int, float] = {}

    async def all_recovered() -> bool:
        rows = await pool.fetch(_FIRST, killed_at, survivor.pid, lost)
        waited.update((row["partition"], row["waited"]) for row in rows)
        return len(waited) == len(lost)

    await until(all_recovered, "the partitions of a killed process", lease_s + 30)
    processes.remove(victim)
    return list(waited.values())


async def rounds(pool: Pool, bus: Streams, addresses: Addresses, rng: random.Random, lease_s: int) -> list[list[float]]:
    """The kills with one length of lease."""
    found = []
    with tempfile.TemporaryDirectory(prefix="ferryman-bench-") as name:
        async with AsyncExitStack() as stack, load(bus, f"{lease_s}"):
            running: list[toy.Process] = []
            for _ in range(KILLS[lease_s]):
                while len(running) < 2:
                    starting = toy.process(Path(name), addresses, FERRYMAN_LEASE_SECONDS=lease_s)
                    running.append(await stack.enter_async_context(starting))
                found.append(await kill_one(pool, running, rng, lease_s))
                print(f"lease {lease_s} s, killed: {max(found[-1]):.2f} s", file=sys.stderr)
            for one in running:
                assert await one.end() == 0
    return found


async def measure(seed: int) -> list[Figure]:
    rng = random.Random(seed)
    figures = []
    async with stores() as addresses, connect(addresses.database_url, size=2) as pool:
        await toy.make_table(pool)
        redis = streams.client(addresses.redis_url, timeout_s=5.0, connections=2)
        bus = Streams(redis, toy.PARTITIONS)
        for lease_s, kills in KILLS.items():
            found = await rounds(pool, bus, addresses, rng, lease_s)
            every = [seconds for one in found for seconds in one]
            name = f"recovery: lease {lease_s} s, {kills} kills"
            figures += [
                Figure(f"{name}, median", statistics.median(every), "s", note=f"seed {seed}"),
                Figure(f"{name}, slowest", max(every), "s", at_most=lease_s + 1, note=f"of {len(every)} partitions"),
            ]
        await redis.aclose()
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--seed", type=int, default=1, help="draws the victims and the moments")
    known, sys.argv[1:] = parser.parse_known_args()
    main(partial(measure, known.seed), __doc__)
