"""What benchmarks of webhooks measure: Ferryman's listener without workers, and a bare handler as its limit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import web
from redis.asyncio import Redis

from adapters.postgres.pool import connect
from adapters.redis import durability, streams
from adapters.redis.streams import Streams
from adapters.registry import SOURCES
from daemon.bus.intake import Intake
from daemon.bus.worker import utc_now
from daemon.telemetry.metrics import Metrics
from daemon.web.application import application
from daemon.web.listener import Listener
from daemon.web.metrics import METRICS as WEB_METRICS
from daemon.web.refusals import Refusals
from daemon.web.server import serving
from tests.bench.rig import Addresses
from tests.support.services import services, unwatched


@asynccontextmanager
async def bare(
    path: str, id_of: Callable[[Any], object], keep: Callable[[bytes], Awaitable[object]] | None = None
) -> AsyncIterator[int]:
    """The limit, on a port of its own: JSON in, its id out. *keep*: what is done with each body before the answer."""

    async def handle(request: web.Request) -> web.Response:
        document = await request.json()
        if keep is not None:
            await keep(await request.read())
        return web.json_response({"id": id_of(document)}, status=202)

    app = web.Application()
    app.router.add_post(path, handle)
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
async def ferryman(
    addresses: Addresses, source: str, secrets: Mapping[str, Sequence[str]]
) -> AsyncIterator[tuple[int, Redis]]:
    """The real application, without workers, on a port of its own."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(connect(addresses.database_url))
        redis = streams.client(addresses.redis_url, timeout_s=2.0, connections=64)
        stack.push_async_callback(redis.aclose)
        assert await durability.of(redis) == "always"
        metrics = Metrics(WEB_METRICS, sources=[source])
        intake, refusals = Intake(Streams(redis, 16, "always"), pool, unwatched()), Refusals(pool)
        listener = Listener(
            intake,
            refusals,
            metrics,
            sources=SOURCES,
            secrets=secrets,
            unsigned=(),
            body_cap=4_000_000,
            now=utc_now,
        )
        async with services(intake, refusals):
            await intake.looked.wait()
            app = application(listener, _Ready(), metrics)
            async with serving(app, "127.0.0.1", 0, drain_s=1.0) as port:
                yield port, redis
