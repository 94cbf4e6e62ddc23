"""How late Chatwoot's webhooks are answered while no worker runs: `python -m tests.bench.chatwoot_webhooks [--json]`
(60 s).

Chatwoot waits for five seconds and never calls again, so it is the latest answers that count. 200 webhooks a second at
a steady rate, each from the moment at which it was due. The limit, measured in the same run by turns: a bare aiohttp
JSON handler as `tests.bench.intake` has it, which keeps nothing. Against it the real application: the signature over
the body, the event, and an append to an append-only file that is synced before the answer. Told beside it: the bare
handler with nothing but such an append. p99 of each turn, the best of five. Bar: 2 times the limit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
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
from daemon.sandbox.chatwoot_webhooks import PATH
from daemon.telemetry.metrics import Metrics
from daemon.web.application import application
from daemon.web.listener import Listener
from daemon.web.metrics import METRICS as WEB_METRICS
from daemon.web.refusals import Refusals
from daemon.web.server import serving
from tests.bench.intake import emptied
from tests.bench.rig import Addresses, Cores, Figure, Helper, helper, main, stores
from tests.support.services import services, unwatched

SECRET: Final = "whs_demo_7Q2m0123456789"
PER_SECOND: Final = 200
COUNT: Final = 600
TURNS: Final = 5
WARM: Final = 100


@asynccontextmanager
async def bare(redis: Redis | None = None) -> AsyncIterator[int]:
    """The limit; with *redis* each body is appended there first."""

    async def handle(request: web.Request) -> web.Response:
        document = await request.json()
        if redis is not None:
            await redis.xadd("bare", {"data": await request.read()})
        return web.json_response({"id": document["id"]}, status=202)

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
    """The real application, without workers."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(connect(addresses.database_url))
        redis = streams.client(addresses.redis_url, timeout_s=2.0, connections=64)
        stack.push_async_callback(redis.aclose)
        assert await durability.of(redis) == "always"
        metrics = Metrics(WEB_METRICS, sources=["chatwoot"])
        intake, refusals = Intake(Streams(redis, 16, "always"), pool, unwatched()), Refusals(pool)
        listener = Listener(
            intake,
            refusals,
            metrics,
            sources=SOURCES,
            secrets={"chatwoot_webhook_secret": [SECRET]},
            unsigned=(),
            body_cap=4_000_000,
            now=utc_now,
        )
        async with services(intake, refusals):
            await intake.looked.wait()
            app = application(listener, _Ready(), metrics)
            async with serving(app, "127.0.0.1", 0, drain_s=1.0) as port:
                yield port, redis


async def one(load: Helper, port: int, count: int = COUNT) -> list[float]:
    """The waits of one turn, in milliseconds."""
    said = await load.ask(port=port, count=count, per_second=PER_SECOND)
    if set(said["statuses"]) != {"202"}:
        raise RuntimeError(f"not everything was accepted: {said['statuses']}")
    return list(said["waits_ms"])


async def measure() -> list[Figure]:
    cores = Cores()
    cores.helpers()
    turns: dict[str, list[list[float]]] = defaultdict(list)
    async with (
        stores() as addresses,
        helper("tests.bench.chatwoot_load", SECRET) as load,
        ferryman(addresses) as (port, redis),
        bare() as bare_port,
        bare(redis) as kept_port,
    ):
        cores.measured()
        settle_memory()  # as `ferryman run` does
        ports = {"limit": bare_port, "bare, kept": kept_port, "ferryman": port}
        for kind_port in ports.values():
            await one(load, kind_port, WARM)
        for _ in range(TURNS):
            await emptied(redis)
            for kind, kind_port in ports.items():
                turns[kind].append(sorted(await one(load, kind_port)))
    figures, best = [], {kind: min(found, key=_p99) for kind, found in turns.items()}
    for kind, waits in best.items():
        note = f"p50 {waits[len(waits) // 2]:.2f} ms, latest {waits[-1]:.1f} ms"
        figures.append(Figure(f"chatwoot webhooks, p99: {kind}", _p99(waits), "ms", note=note))
    for kind, bar in (("limit", 2.0), ("bare, kept", None)):
        ratio = _p99(best["ferryman"]) / _p99(best[kind])
        figures.append(Figure(f"chatwoot webhooks, p99: ferryman / {kind}", ratio, at_most=bar))
    return figures


def _p99(ordered: list[float]) -> float:
    return ordered[len(ordered) * 99 // 100]


if __name__ == "__main__":
    main(measure, __doc__)
