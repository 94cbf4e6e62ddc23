"""The doors of the process: when it begins to serve HTTP, and how it ends.

At a port of its own the process serves as soon as its settings are known to be sound, so that health is seen, and
senders are told to come again. At a socket that was handed over, the kernel keeps what arrives. There the process
serves when the start is through, and leaves the socket only when all that it has in hand is done.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import structlog
from aiohttp import web

from daemon.bus.intake import Intake
from daemon.lifecycle import StartError, any_set
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from daemon.web.application import Health, application, health_application
from daemon.web.handed import NotUsable, at_port, require_used
from daemon.web.listener import Listener
from daemon.web.place import place
from daemon.web.server import serving

ANSWER_S: Final = 2.0
"""Longest wait for requests under way when the HTTP server closes, and for what they have handed in."""

START_S: Final = 5.0
"""How long what arrives at a handed-over socket may wait for a start; then it is answered as the stores allow."""

LINGER_S: Final = 1.0
"""How long clients may go on to use the connections that they have, when this process leaves a handed-over socket."""

log = structlog.get_logger(__name__)


class Doors:
    """The HTTP servers of one process: of webhooks, and of health where that has a port. *handed*: sockets that the
    service manager keeps."""

    def __init__(
        self,
        settings: Settings,
        listener: Listener,
        intake: Intake,
        health: Health,
        metrics: Metrics,
        handed: Sequence[socket.socket],
        routes: Sequence[web.RouteDef] = (),
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._intake = intake
        self._health = health
        self._metrics = metrics
        self._handed = handed
        self._routes = routes
        self._stack = AsyncExitStack()
        self._are_open = asyncio.Event()
        self._port = 0
        self.are_handed = bool(at_port(handed, settings.ferryman_port))
        """Whether webhooks come by a handed-over socket."""

    async def open(self) -> None:
        """Serve from now on, until `close` or `leave`. Raises: StartError."""
        settings, apart = self._settings, self._settings.ferryman_health_port
        try:
            require_used(self._handed, [port for port in (settings.ferryman_port, apart) if port is not None])
        except NotUsable as exc:
            raise StartError(str(exc)) from exc
        if apart is not None:
            await self._listen(health_application(self._health, self._metrics), apart, "FERRYMAN_HEALTH_PORT")
        app = application(
            self._listener, self._health, self._metrics, health_apart=apart is not None, more=self._routes
        )
        self._port = await self._listen(app, settings.ferryman_port, "FERRYMAN_PORT")
        self._are_open.set()

    async def open_in_time(self, stop: asyncio.Event) -> None:
        """Serve when the intake has looked at the spool, after START_S at the latest; then wait for *stop*. The kernel
        keeps what arrives meanwhile, so no sender has to be told 503 for the length of a start."""
        await any_set(stop, self._intake.looked, timeout_s=START_S)
        if not stop.is_set():
            await self.open()
            await stop.wait()

    async def port(self) -> int:
        """The port of the webhooks, when they are served."""
        await self._are_open.wait()
        return self._port

    async def leave(self) -> None:
        """Leave what arrives from now on to the next process. Until here webhooks were accepted as ever: while this
        process finishes what it has in hand, no other one takes connections from the socket."""
        await self.close()
        try:
            async with asyncio.timeout(ANSWER_S):  # no sender waits for an answer any more
                await self._intake.drained()
        except TimeoutError:
            log.warning("daemon.intake_cut")

    async def close(self) -> None:
        """Serve nothing more. Requests under way have ANSWER_S to end."""
        await self._stack.aclose()

    async def _listen(self, app: web.Application, port: int, name: str) -> int:
        """Serve *app*; returns the port. *name*: the setting of *port*. Raises: StartError."""
        host, handed = self._settings.ferryman_host, at_port(self._handed, port)
        served = serving(
            app,
            host,
            port,
            drain_s=ANSWER_S,
            keepalive_s=self._settings.ferryman_keepalive_seconds,
            handed=handed,
            linger_s=LINGER_S if handed else 0.0,
        )
        try:
            return await self._stack.enter_async_context(served)
        except OSError as exc:
            raise StartError(
                f"cannot listen on {place(host, port)} ({exc.strerror or 'in use'}): set FERRYMAN_HOST or {name}"
            ) from exc
