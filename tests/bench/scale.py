"""What a second process brings: `python -m tests.bench.scale [--json]` (40 s).

Real processes with real leases; their worker waits 20 ms over each event, 20 events at once in each process, with the
journal beside it. Events of 600 bytes, each of a key of its own, are appended at once when the leases are settled. The
rate is that of the middle eight tenths of the ends, by the clock of their database. Three times, one process and two
taking turns: the second one joins, takes its share, and leaves.
Bar: two processes handle 1.6 times of what one handles, in the median.
"""

from __future__ import annotations

import signal
import statistics
import tempfile
from pathlib import Path
from typing import Final

from adapters.postgres.pool import Pool, connect
from adapters.redis import streams
from adapters.redis.streams import Streams
from tests.bench import toy
from tests.bench.rig import Addresses, Figure, main, stores
from tests.bench.start import cpu_seconds
from tests.support.until import until

EACH: Final = 4_000
APPEND: Final = 200
TIMES: Final = 3
NAP_MS: Final = 20
LANES: Final = 20

# Of the ends between the first tenth and the last: how many a second.
_RATE: Final = """
WITH placed AS (SELECT at, percent_rank() OVER (ORDER BY at) AS place FROM bench_ends),
    middle AS (SELECT at FROM placed WHERE place BETWEEN 0.1 AND 0.9)
SELECT count(*) / extract(epoch FROM max(at) - min(at)) FROM middle
"""


class Rig:
    """The stores, and how much each kind has reached: (events/s, microseconds of CPU each)."""

    def __init__(self, pool: Pool, bus: Streams, addresses: Addresses, cwd: Path) -> None:
        self._pool = pool
        self._bus = bus
        self.addresses = addresses
        self.cwd = cwd
        self.reached: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
        self.splits: dict[int, list[list[int]]] = {1: [], 2: []}

    async def measure(self, processes: list[toy.Process], turn: int) -> None:
        """One burst of events for *processes*."""
        kind = len(processes)
        self.splits[kind].append(await toy.shared(processes))
        await self._pool.execute("TRUNCATE bench_ends")
        batch = list(toy.events(f"{turn}-{kind}", EACH * kind))
        before = _cpu(processes)
        for start in range(0, len(batch), APPEND):
            await self._bus.append(batch[start : start + APPEND])

        async def ended() -> bool:
            return int(await self._pool.fetchval("SELECT count(*) FROM bench_ends")) >= len(batch)

        await until(ended, f"the end of {len(batch)} events", 120)
        rate = float(await self._pool.fetchval(_RATE))
        self.reached[kind].append((rate, 1e6 * (_cpu(processes) - before) / len(batch)))


def _cpu(processes: list[toy.Process]) -> float:
    used = cpu_seconds()
    return sum(used[one.pid][1] for one in processes)


async def measure() -> list[Figure]:
    settings = {"BENCH_NAP_MS": NAP_MS, "BENCH_LANES": LANES}
    async with stores() as addresses, connect(addresses.database_url, size=2) as pool:
        await toy.make_table(pool)
        redis = streams.client(addresses.redis_url, timeout_s=5.0, connections=2)
        with tempfile.TemporaryDirectory(prefix="ferryman-bench-") as name:
            rig = Rig(pool, Streams(redis, toy.PARTITIONS), addresses, Path(name))
            async with toy.process(rig.cwd, addresses, **settings) as first:
                for turn in range(TIMES):
                    await rig.measure([first], turn)
                    async with toy.process(rig.cwd, addresses, **settings) as second:
                        await rig.measure([first, second], turn)
                        assert await second.end(signal.SIGTERM) == 0
        await redis.aclose()
    best = {kind: max(many) for kind, many in rig.reached.items()}
    possible = 1000 * LANES / NAP_MS
    figures = [
        Figure(
            f"scale: {kind} process{'es' if kind > 1 else ''}",
            rate,
            "events/s",
            note=f"{rate / possible / kind:.2f} of what the waiting allows, {cpu:.0f} us CPU each",
        )
        for kind, (rate, cpu) in best.items()
    ]
    ratios = [two / one for (one, _), (two, _) in zip(rig.reached[1], rig.reached[2], strict=True)]
    note = "by turns " + ", ".join(
        f"{ratio:.2f} ({'+'.join(map(str, split))} partitions)"
        for ratio, split in zip(ratios, rig.splits[2], strict=True)
    )
    return [*figures, Figure("scale: two processes / one", statistics.median(ratios), at_least=1.6, note=note)]


if __name__ == "__main__":
    main(measure, __doc__)
