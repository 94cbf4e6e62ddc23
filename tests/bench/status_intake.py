"""How much of the possible the intake of statuses reaches, on one core: `python -m tests.bench.status_intake [--json]`
(40 s).

The limit, measured in the same run: a bare aiohttp JSON handler as `tests.bench.intake` has it. Against it the real
application: Meta's signature over the body, an event for each status, and an append to an append-only file that is
synced before the answer. 64 connections; bodies of one status and of 50, each of a message of its own. Best of three,
the kinds taking turns. Bar: 0.50 of the limit, for bodies of one status. A body of 50 becomes 50 events, each on the
stream of its person, while the limit only reads it, so its ratio is told without a bar; beside it, how many statuses a
second that is.
"""

from __future__ import annotations

import time
from collections import defaultdict
from itertools import product
from typing import Final

from daemon.process import settle_memory
from daemon.sandbox.meta_webhooks import PATH
from tests.bench.doors import bare, ferryman
from tests.bench.intake import CONNECTIONS, Run, emptied
from tests.bench.rig import Cores, Figure, Helper, helper, main, stores

SECRET: Final = "meta-app-secret-of-the-benchmarks"
SIZES: Final = (1, 50)
STATUSES: Final = 100_000
SECONDS: Final = 2.0
TIMES: Final = 3


async def one(load: Helper, port: int, size: int, seconds: float = SECONDS) -> Run:
    """Measure once."""
    before = time.process_time()
    said = await load.ask(port=port, size=size, seconds=seconds, connections=CONNECTIONS)
    cpu, count = time.process_time() - before, said["requests"]
    if set(said["statuses"]) != {"202"}:
        raise RuntimeError(f"not everything was accepted: {said['statuses']}")
    return Run(count / said["seconds"], 1e6 * cpu / count, said["p50_ms"], said["p99_ms"], said["body_bytes"])


async def measure() -> list[Figure]:
    cores = Cores()
    cores.helpers()
    runs: dict[tuple[int, str], list[Run]] = defaultdict(list)
    async with (
        stores() as addresses,
        helper("tests.bench.status_load", str(STATUSES), SECRET) as load,
        ferryman(addresses, "meta", {"meta_app_secret": [SECRET]}) as (port, redis),
        bare(PATH, lambda document: document["entry"][0]["id"]) as bare_port,
    ):
        cores.measured()
        settle_memory()  # as `ferryman run` does
        for kind_port in (bare_port, port):
            await one(load, kind_port, 1, seconds=0.3)
        for size, _ in product(SIZES, range(TIMES)):
            await emptied(redis)
            runs[size, "limit"].append(await one(load, bare_port, size))
            runs[size, "ferryman"].append(await one(load, port, size))
    figures = []
    for size in SIZES:
        best = {kind: max(runs[size, kind], key=lambda run: run.per_second) for kind in ("limit", "ferryman")}
        for kind, run in best.items():
            note = f"{run.cpu_us:.0f} us CPU each, p50 {run.p50_ms:.1f} ms, p99 {run.p99_ms:.1f} ms"
            figures.append(Figure(f"statuses, {size} in a body: {kind}", run.per_second, "requests/s", note=note))
        ours, limit = best["ferryman"], best["limit"]
        note = f"by CPU {limit.cpu_us / ours.cpu_us:.2f}"
        ratio = ours.per_second / limit.per_second
        bar = 0.5 if size == 1 else None
        figures.append(Figure(f"statuses, {size} in a body: ferryman / limit", ratio, at_least=bar, note=note))
        figures.append(Figure(f"statuses, {size} in a body: ferryman", size * ours.per_second, "statuses/s"))
    return figures


if __name__ == "__main__":
    main(measure, __doc__)
