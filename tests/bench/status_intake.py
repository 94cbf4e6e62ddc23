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
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import product
from typing import Any, Final

from aiohttp import web
from redis.asyncio import Redis

from adapters.postgres.pool import connect
from adapters.redis import durability, streams
from adapters.redis.streams import Streams
from adapters.registry import SOURCES
from daemon.bus.intake import Intake
from daemon.bus.worker import utc_now
from daemon.process import settle_memory
from daemon.sandbox.meta_webhooks import PATH
from daemon.telemetry.metrics import Metrics
from daemon.web.application import application
from daemon.web.listener import Listener
from daemon.web.metrics import METRICS as WEB_METRICS
from daemon.web.refusals import Refusals
from daemon.web.server import serving
from tests.bench.intake import CONNECTIONS, Run, emptied
from tests.bench.rig import Addresses, Cores, Figure, Helper, helper, main, stores
from tests.support.services import services, unwatched

SECRET: Final = "meta-app-secret-of-the-benchmarks"
SIZES: Final = (1, 50)
STATUSES: Final = 100_000
SECONDS: Final = 2.0
TIMES: Final = 3


@asynccontextmanager
async def bare() -> AsyncIterator[int]:
    """The limit."""

    async def handle(request: web.Request) -> web.Response:
        document = await request.json()
        return web.json_response({"id": document["entry"][0]["id"]}, status=202)

    app = web.Application()
    app.router.add_post(PATH, handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


class _Ready:
    def ready(self) -> dict[str, Any]:
        return {"ready": True}


@asynccontextmanager
async def ferryman(addresses: Addresses) -> AsyncIterator[tuple[int, Redis]]:
    """The real application."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(connect(addresses.database_url))
        redis = streams.client(addresses.redis_url, timeout_s=2.0, connections=64)
        stack.push_async_callback(redis.aclose)
        assert await durability.of(redis) == "always"
        metrics = Metrics(WEB_METRICS, sources=["meta"])
        intake, refusals = Intake(Streams(redis, 16, "always"), pool, unwatched()), Refusals(pool)
        listener = Listener(
            intake,
            refusals,
            metrics,
            sources=SOURCES,
            secrets={"meta_app_secret": [SECRET]},
            unsigned=(),
            body_cap=4_000_000,
            now=utc_now,
        )
        async with services(intake, refusals):
            await intake.looked.wait()
            app = application(listener, _Ready(), metrics)
            async with serving(app, "127.0.0.1", 0, drain_s=1.0) as port:
                yield port, redis


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
        ferryman(addresses) as (port, redis),
        bare() as bare_port,
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
