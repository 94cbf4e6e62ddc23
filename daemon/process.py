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

from aiohttp.web import RouteDef

from adapters.channel import Channels
from daemon.bus.consumer import Consumer
from daemon.bus.intake import Intake
from daemon.bus.leases import LeaseKeeper
from daemon.bus.presence import Presence
from daemon.bus.recovery import Recovery
from daemon.bus.upkeep import Upkeep
from daemon.lifecycle import Background, Service, Step, serve
from daemon.opening import Opening
from daemon.settings.in_force import Change, InForce, change
from daemon.settings.model import Settings
from daemon.stores.health import Stores
from daemon.telemetry.metrics import Metrics
from daemon.telemetry.report import Report
from daemon.web.doors import Doors
from daemon.web.health import Readiness
from daemon.web.listener import Listener
from daemon.web.place import place
from daemon.web.refusals import Refusals

LEAVE_S: Final = 2.0
"""Longest wait for Redis to release the leases at the end; otherwise they run out."""

YOUNG_OBJECTS: Final = 20_000
"""New objects after which Python collects garbage among them. Its default of 700 is less than one second of traffic
holds, so it would traverse nearly everything in hand again and again; a batch of four pushes of records is 7,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """One process of Ferryman: put together by `daemon.app.assembled`, run once. *about*: what settings make of it.
    *routes*: of the API. *waits*: end what keeps requests waiting, as soon as the process is asked to stop."""

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
    routes: Sequence[RouteDef] = ()
    waits: Sequence[Service] = ()

    def take(self, new: Settings) -> Change:
        """Go by the secrets of *new* from now on, as far as that needs no start. Returns what *new* changes."""
        sources = [source for source in self.listener.sources if self.listener.served(source)]
        served = [names for source in sources for names in (source.secrets, source.challenge_secrets)]
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
        work: list[Service] = [*map(_Working, self.consumers), *self.waits]
        health = Readiness(self.stores, self.intake, self.keeper, [consumer.name for consumer in self.consumers])
        doors = Doors(self.settings, self.listener, self.intake, health, self.metrics, handed, self.routes)

        async def looked() -> None:  # wrong settings come first: their senders need no answer
            await self.opening.look()
            if not doors.are_handed:
                await doors.open()

        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._leave)
            stack.push_async_callback(doors.close)
            later = [Background("doors", doors.open_in_time)] if doors.are_handed else []
            await serve(
                work,
                self._side(),
                stop,
                started=lambda: self._started(started, doors),
                begin_stop=self._retire if doors.are_handed else lambda: self._begin_stop(health),
                drained=doors.leave if doors.are_handed else None,
                drain_s=self.settings.ferryman_drain_seconds,
                steps=[
                    Step(also, looked),
                    Step([self.refusals, *later], self.opening.postgres),
                    Step([self.stores.postgres], self.opening.redis),
                ],
            )

    def _side(self) -> list[Service]:
        """What runs beside the work, from before it begins until it has ended."""
        return [
            self.stores.redis,
            Background("recovery", self.recovery.run),
            *self.upkeep.duties,
            self.presence,
            self.keeper,
            self.intake,
        ]

    async def _started(self, started: Callable[[int], None], doors: Doors) -> None:
        """Say that the process is ready: the spool has been looked at and the leases that were free are taken."""
        port = await doors.port()
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
