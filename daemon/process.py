"""The process: its services in order, how it says that it is ready, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from daemon.bus.consumer import Consumer
from daemon.bus.intake import Intake
from daemon.bus.leases import LeaseKeeper
from daemon.bus.presence import Presence
from daemon.bus.recovery import Recovery
from daemon.bus.upkeep import Upkeep
from daemon.lifecycle import Background, Service, StartError, Step, serve
from daemon.opening import Opening
from daemon.settings.model import Settings
from daemon.stores.health import Stores
from daemon.telemetry.metrics import Metrics
from daemon.web.health import Readiness
from daemon.web.listener import Listener
from daemon.web.place import place
from daemon.web.refusals import Refusals
from daemon.web.server import application, health_application, serving

LEAVE_S: Final = 2.0
"""Longest wait for Redis to release the leases at the end; otherwise they run out."""

ANSWER_S: Final = 2.0
"""Longest wait for requests under way when the HTTP server closes."""

YOUNG_OBJECTS: Final = 5000
"""New objects after which Python collects garbage among them. Its default of 700 is less than one second of traffic
holds, so it would traverse nearly everything in hand again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """One process of Ferryman: put together by `daemon.app.assembled`, run once."""

    settings: Settings
    opening: Opening
    stores: Stores
    intake: Intake
    listener: Listener
    refusals: Refusals
    keeper: LeaseKeeper
    consumers: Sequence[Consumer]
    recovery: Recovery
    upkeep: Upkeep
    presence: Presence
    metrics: Metrics

    async def run(self, stop: asyncio.Event, started: Callable[[int], None]) -> None:
        """Serve until *stop*, then drain. HTTP is served also while a store is waited for.

        *started* hears the port when all is in place. Raises: StartError; what broke a service, or the start.
        """
        work: list[Service] = [_Working(consumer) for consumer in self.consumers]
        side: list[Service] = [
            self.stores.redis,
            Background("recovery", self.recovery.run),
            *self.upkeep.duties,
            self.presence,
            self.keeper,
            self.intake,
        ]
        health = Readiness(self.stores, self.intake, self.keeper, [consumer.name for consumer in self.consumers])
        ports: list[int] = []
        async with AsyncExitStack() as stack:

            async def listening() -> None:  # wrong settings come first: their senders need no answer
                await self.opening.look()
                ports.append(await self._serve(stack, health))

            stack.push_async_callback(self._leave)
            await serve(
                work,
                side,
                stop,
                started=lambda: self._started(started, ports[0]),
                begin_stop=lambda: self._begin_stop(health),
                drain_s=self.settings.ferryman_drain_seconds,
                steps=[
                    Step([], listening),
                    Step([self.refusals], self.opening.postgres),
                    Step([self.stores.postgres], self.opening.redis),
                ],
            )

    async def _serve(self, stack: AsyncExitStack, health: Readiness) -> int:
        """Serve HTTP until *stack* closes; returns the port of the webhooks. Raises: StartError."""
        settings, apart = self.settings, self.settings.ferryman_health_port
        if apart is not None:
            await self._listen(stack, health_application(health, self.metrics), apart, "FERRYMAN_HEALTH_PORT")
        app = application(self.listener, health, self.metrics, health_apart=apart is not None)
        return await self._listen(stack, app, settings.ferryman_port, "FERRYMAN_PORT")

    async def _listen(self, stack: AsyncExitStack, app: web.Application, port: int, name: str) -> int:
        """Serve *app* until *stack* closes; returns the port. *name*: the setting of *port*. Raises: StartError."""
        host, keepalive_s = self.settings.ferryman_host, self.settings.ferryman_keepalive_seconds
        try:
            served = serving(app, host, port, drain_s=ANSWER_S, keepalive_s=keepalive_s)
            return await stack.enter_async_context(served)
        except OSError as exc:
            raise StartError(
                f"cannot listen on {place(host, port)} ({exc.strerror or 'in use'}): set FERRYMAN_HOST or {name}"
            ) from exc

    async def _started(self, started: Callable[[int], None], port: int) -> None:
        """Say that the process is ready: the spool has been looked at and the leases that were free are taken."""
        await self.intake.looked.wait()
        await self.keeper.settled.wait()
        self.presence.listens = place(self.settings.ferryman_host, port)
        settle_memory()
        started(port)

    async def _begin_stop(self, health: Readiness) -> None:
        """Accept nothing more, finish what was accepted, and let other processes take the leases over."""
        health.stop()
        self.listener.stop()
        await self.intake.drained()
        if self.opening.complete:
            await self.keeper.retire()

    async def _leave(self) -> None:
        if not self.opening.complete:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self.keeper.leave()
        await self.presence.leave()


class _Working(Background):
    """A consumer as a Service."""

    def __init__(self, consumer: Consumer) -> None:
        super().__init__(consumer.name, lambda _: consumer.run())
        self._consumer = consumer

    def stop(self) -> None:
        """See Service."""
        self._consumer.stop()
        super().stop()


def settle_memory() -> None:
    """Set the garbage collector for a process that lives long and makes few objects that refer to each other.

    Call it once, when everything is built: no later collection traverses the objects that exist then.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
