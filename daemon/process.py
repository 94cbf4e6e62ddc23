"""The process: its services in order, how it says that it is ready, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from adapters.channel import Channels
from daemon.bus.consumer import Consumer
from daemon.bus.intake import Intake
from daemon.bus.leases import LeaseKeeper
from daemon.bus.presence import Presence
from daemon.bus.recovery import Recovery
from daemon.bus.upkeep import Upkeep
from daemon.lifecycle import Background, Service, StartError, Step, any_set, serve
from daemon.opening import Opening
from daemon.settings.in_force import Change, InForce, change
from daemon.settings.model import Settings
from daemon.stores.health import Stores
from daemon.telemetry.metrics import Metrics
from daemon.telemetry.report import Report
from daemon.web.application import application, health_application
from daemon.web.handed import NotUsable, at_port, require_used
from daemon.web.health import Readiness
from daemon.web.listener import Listener
from daemon.web.place import place
from daemon.web.refusals import Refusals
from daemon.web.server import serving

LEAVE_S: Final = 2.0
"""Longest wait for Redis to release the leases at the end; otherwise they run out."""

ANSWER_S: Final = 2.0
"""Longest wait for requests under way when the HTTP server closes."""

START_S: Final = 5.0
"""How long what arrives at a handed-over socket may wait for a start; then it is answered as the stores allow."""

LINGER_S: Final = 1.0
"""How long clients may go on to use the connections that they have, when this process leaves a handed-over socket."""

YOUNG_OBJECTS: Final = 5000
"""New objects after which Python collects garbage among them. Its default of 700 is less than one second of traffic
holds, so it would traverse nearly everything in hand again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """One process of Ferryman: put together by `daemon.app.assembled`, run once. *about*: what settings make of it."""

    settings: Settings
    in_force: InForce
    about: Callable[[Settings], Report]
    channels: Channels
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

    def take(self, new: Settings) -> Change:
        """Go by the secrets of *new* from now on, as far as that needs no start. Returns what *new* changes."""
        served = [source.secrets for source in self.listener.sources if self.listener.served(source)]
        made = change(self.in_force.settings, new, served)
        self.in_force.settings = made.settings
        self.listener.take({name: self.in_force.secrets(name) for names in served for name in names})
        self.presence.renew(self.about(made.settings))
        if made.taken:
            for channel in self.channels.all():
                channel.probe_now()  # the old key may be why it is down
        return made

    async def run(
        self,
        stop: asyncio.Event,
        started: Callable[[int], None],
        *,
        also: Sequence[Service] = (),
        handed: Sequence[socket.socket] = (),
    ) -> None:
        """Serve until *stop*, then drain. HTTP is served also while a store is waited for.

        *started* hears the port when all is in place; *also* runs beside the rest; *handed*: sockets that the service
        manager keeps. Raises: StartError; what broke a service, or the start.
        """
        work: list[Service] = [_Working(consumer) for consumer in self.consumers]
        side: list[Service] = [
            self.stores.redis,
            Background("recovery", self.recovery.run),
            *self.upkeep.duties,
            self.presence,
            self.keeper,
            self.intake,
            *also,
        ]
        health = Readiness(self.stores, self.intake, self.keeper, [consumer.name for consumer in self.consumers])
        ports: list[int] = []
        listens = asyncio.Event()
        stays = bool(at_port(handed, self.settings.ferryman_port))
        async with AsyncExitStack() as stack:

            async def listening() -> None:  # wrong settings come first: their senders need no answer
                await self.opening.look()
                if not stays:
                    ports.append(await self._serve(doors, health, handed))
                    listens.set()

            async def opening_the_socket(stop_asked: asyncio.Event) -> None:
                # the kernel keeps what arrives meanwhile, so no sender has to be told 503 for the length of a start
                await any_set(stop_asked, self.intake.looked, timeout_s=START_S)
                if not stop_asked.is_set():
                    ports.append(await self._serve(doors, health, handed))
                    listens.set()
                    await stop_asked.wait()

            async def all_started() -> None:
                await listens.wait()
                await self._started(started, ports[0])

            stack.push_async_callback(self._leave)
            doors = await stack.enter_async_context(AsyncExitStack())
            await serve(
                work,
                side,
                stop,
                started=all_started,
                begin_stop=self._retire if stays else lambda: self._begin_stop(health),
                drained=(lambda: self._leave_the_socket(doors)) if stays else None,
                drain_s=self.settings.ferryman_drain_seconds,
                steps=[
                    Step([], listening),
                    Step(
                        [self.refusals, *([Background("doors", opening_the_socket)] if stays else [])],
                        self.opening.postgres,
                    ),
                    Step([self.stores.postgres], self.opening.redis),
                ],
            )

    async def _serve(self, stack: AsyncExitStack, health: Readiness, handed: Sequence[socket.socket]) -> int:
        """Serve HTTP until *stack* closes; returns the port of the webhooks. Raises: StartError."""
        settings, apart = self.settings, self.settings.ferryman_health_port
        try:
            require_used(handed, [port for port in (settings.ferryman_port, apart) if port is not None])
        except NotUsable as exc:
            raise StartError(str(exc)) from exc
        if apart is not None:
            own = health_application(health, self.metrics)
            await self._listen(stack, own, apart, "FERRYMAN_HEALTH_PORT", at_port(handed, apart))
        app = application(self.listener, health, self.metrics, health_apart=apart is not None)
        port = settings.ferryman_port
        return await self._listen(stack, app, port, "FERRYMAN_PORT", at_port(handed, port))

    async def _listen(
        self, stack: AsyncExitStack, app: web.Application, port: int, name: str, handed: Sequence[socket.socket]
    ) -> int:
        """Serve *app* until *stack* closes; returns the port. *name*: the setting of *port*. *handed*: sockets at
        *port* that listen already. Raises: StartError."""
        host, keepalive_s = self.settings.ferryman_host, self.settings.ferryman_keepalive_seconds
        linger_s = LINGER_S if handed else 0.0
        try:
            served = serving(
                app, host, port, drain_s=ANSWER_S, keepalive_s=keepalive_s, handed=handed, linger_s=linger_s
            )
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
        await self._retire()

    async def _retire(self) -> None:
        if self.opening.complete:
            await self.keeper.retire()

    async def _leave_the_socket(self, doors: AsyncExitStack) -> None:
        """Leave what arrives from now on to the next process. Until here webhooks were accepted as ever: while this
        process finishes what it has in hand, no other one takes connections from the socket."""
        await doors.aclose()
        await self.intake.drained()

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
