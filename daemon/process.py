"""The process: what runs beside what, how it tells that it is ready, how it stops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from daemon import memory
from daemon.bus.consumer import Consumer
from daemon.bus.intake import Intake
from daemon.bus.leases import LeaseKeeper
from daemon.bus.recovery import Recovery
from daemon.bus.upkeep import Maintenance
from daemon.lifecycle import Service, StartError, serve
from daemon.settings.model import Settings
from daemon.stores.health import Stores, up
from daemon.telemetry.metrics import Metrics
from daemon.web.listener import Listener
from daemon.web.refusals import Refusals
from daemon.web.server import application, serving

LEAVE_S: Final = 2.0


class Daemon:
    """One process of Ferryman: made by `daemon.app.assembled`, run once."""

    def __init__(
        self,
        settings: Settings,
        *,
        intake: Intake,
        listener: Listener,
        refusals: Refusals,
        stores: Stores,
        keeper: LeaseKeeper,
        consumers: Sequence[Consumer],
        recovery: Recovery,
        maintenance: Maintenance,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._intake = intake
        self._listener = listener
        self._refusals = refusals
        self._stores = stores
        self._keeper = keeper
        self._consumers = consumers
        self._recovery = recovery
        self._maintenance = maintenance
        self._metrics = metrics
        self._stopping = False

    def ready(self) -> dict[str, Any]:
        """The document of /readyz."""
        redis_up, postgres_up = self._stores.redis_up, self._stores.postgres_up
        accepting = self._intake.accepting
        if accepting == "redis" and not redis_up:
            accepting = "spool"
        if accepting == "spool" and not postgres_up:
            accepting = "no"
        if self._stopping:
            accepting = "no"
        return {
            "ready": accepting != "no",
            "redis": up(redis_up),
            "postgres": up(postgres_up),
            "accepting": accepting,
            "leases": {c.worker.name: sorted(self._keeper.readable(c.worker.name)) for c in self._consumers},
        }

    async def run(self, stop: asyncio.Event, started: Callable[[int], None]) -> None:
        """Serve until *stop*, then drain. *started* hears the port. Raises: StartError; whatever broke a part of it."""
        settings = self._settings
        app = application(self._listener, self, self._metrics)
        side_stop = asyncio.Event()
        side = [
            Service("stores", self._stores.run(side_stop)),
            Service("refusals", self._refusals.run(side_stop)),
            Service("recovery", self._recovery.run(side_stop)),
            Service("maintenance", self._maintenance.run(side_stop)),
            Service("leases", self._keeper.run()),
            Service("intake", self._intake.run()),
        ]
        work = [Service(c.worker.name, c.run()) for c in self._consumers]
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._leaving())
            try:
                port = await stack.enter_async_context(
                    serving(app, settings.ferryman_host, settings.ferryman_port, drain_s=2.0)
                )
            except OSError as exc:
                for service in (*side, *work):
                    service.discard()
                place = f"{settings.ferryman_host}:{settings.ferryman_port}"
                raise StartError(
                    f"cannot listen on {place} ({exc.strerror or 'in use'}): set FERRYMAN_HOST or FERRYMAN_PORT"
                ) from exc
            await serve(
                work,
                side,
                stop,
                begin_stop=self._begin_stop,
                started=lambda: self._started(started, port),
                end_side=lambda: self._end_side(side_stop),
                drain_s=settings.ferryman_drain_seconds,
            )

    async def _started(self, started: Callable[[int], None], port: int) -> None:
        """Ready once the spool has been looked at and the leases that are free have been taken."""
        await self._intake.looked.wait()
        await self._keeper.settled.wait()
        memory.settled()
        started(port)

    async def _begin_stop(self) -> None:
        self._stopping = True
        self._listener.stop()
        for consumer in self._consumers:
            consumer.stop()
        await self._intake.drained()
        await self._keeper.retire()

    def _end_side(self, side_stop: asyncio.Event) -> None:
        side_stop.set()
        self._keeper.stop()
        self._intake.stop()

    @asynccontextmanager
    async def _leaving(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await self._keeper.leave()
