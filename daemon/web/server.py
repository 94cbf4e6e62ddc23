"""The HTTP server of the process: its connections, and the sockets that it serves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias, cast

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from yarl import URL

from daemon.telemetry.failures import fields
from daemon.web import paths
from daemon.web.connections import Connections, address_of
from daemon.web.place import EVERY_ADDRESS, dual_stack
from daemon.web.problems import problem

HEADER_TIMEOUT_S: Final = 30.0
"""How long a connection may stay without its first whole request header, whether it is idle or sends it slowly."""

BACKLOG: Final = 1024

WEBHOOKS: Final = "/webhooks/"
"""How the paths of webhooks begin."""

SYNC: Final = "/api/v1/sync/"
"""How the paths begin that replicas ask again and again."""

KEEPALIVE_S: Final = 75.0
"""How long a connection stays open after an answer, when the settings do not say it."""

ACCEPTED_S: Final = 0.05
"""How long a connection that was accepted just now may take to be known as one."""

CONNECTIONS: Final = web.AppKey("connections", Connections)
"""Where an application says which connections its server takes."""

log = structlog.get_logger(__name__)


class _Connection(RequestHandler):
    """A connection that counts among those of its address. Its unreadable requests get a problem document; aiohttp's
    own answer and log line quote them."""

    __slots__ = ("_address", "_first", "_room")

    def __init__(self, server: _Server, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._room = server.room
        self._address: str | None = None
        self._first: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or end it at once when there is no room for it."""
        address = address_of(transport.get_extra_info("peername"))
        if not self._room.enter(address):
            self._manager = None  # as after the end of a connection: aiohttp then does nothing with it
            self._force_close = True
            cast("asyncio.Transport", transport).abort()
            return
        self._address = address
        super().connection_made(transport)
        self._first = self._loop.call_later(HEADER_TIMEOUT_S, self._without_request)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio."""
        if self._address is not None:
            self._room.leave(self._address)
            self._address = None
        if self._first is not None:
            self._first.cancel()
        super().connection_lost(exc)

    def _without_request(self) -> None:
        if not self._request_count:
            self.force_close()

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send *resp*, whose header names no versions."""
        if isinstance(resp, web.StreamResponse):
            resp.headers.setdefault("Server", "ferryman")
            if self._leaving():
                resp.force_close()
        return super().finish_response(request, resp, start_time)

    def _leaving(self) -> bool:
        return isinstance(self._manager, _Server) and self._manager.leaving

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the server itself could not read, or could not handle."""
        if status >= 500:
            log.error("http.failed", **({} if exc is None else fields(exc)))
        answer = problem(status, "the request cannot be read as HTTP" if status < 500 else "this server failed")
        answer.force_close()
        return answer


class _Server(web.Server):
    """Hands out connections of ours. *leaving*: each answer ends its connection."""

    room: Connections
    leaving: bool

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    """Sets the class of its server. aiohttp has no public way to do this; a test guards this one."""

    async def _make_server(self) -> web.Server:
        server = cast("_Server", await super()._make_server())
        server.__class__ = _Server
        server.room, server.leaving = self.app[CONNECTIONS], False
        server.request_handler = _straight(self.app, server.request_handler)
        return server


_Handler: TypeAlias = Callable[[Any], Awaitable[web.StreamResponse]]


def _straight(app: web.Application, by_the_router: _Handler) -> _Handler:
    """Sends a plain webhook request, or a replica's, straight to its handler, since router and middleware would cost as
    much as checking its signature. Every other request goes through the router, without the slashes that its path has
    too many."""
    direct: dict[tuple[str, str], _Handler] = {
        (route.method, path): route.handler for route in app.router.routes() if (path := _direct_path(route))
    }
    served = {resource.canonical for resource in app.router.resources()}

    def handler(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        path = request.path
        straight = direct.get((request.method, path)) if "Expect" not in request.headers else None
        if straight is not None:
            return straight(request)
        if path not in served and (meant := paths.clean(path)) in served:
            request = request.clone(rel_url=URL.build(path=meant, query_string=request.query_string))
        return by_the_router(request)

    return handler


def _direct_path(route: web.AbstractRoute) -> str | None:
    resource = route.resource
    if not isinstance(resource, web.PlainResource):
        return None
    path = resource.canonical
    return path if path.startswith(SYNC) or (path.startswith(WEBHOOKS) and route.method == "POST") else None


@asynccontextmanager
async def serving(
    app: web.Application,
    host: str,
    port: int,
    *,
    drain_s: float,
    keepalive_s: float = KEEPALIVE_S,
    handed: Sequence[socket.socket] = (),
    linger_s: float = 0.0,
) -> AsyncIterator[int]:
    """Serve *app*, which has CONNECTIONS; yields the port. Raises OSError when the address is in use or not ours.

    *handed*: sockets that listen already, to use in place of *host* and *port*. *linger_s*: for how long open
    connections may send one more request when the server has stopped to accept new ones.
    """
    runner = _Runner(
        app,
        access_log=None,
        keepalive_timeout=keepalive_s,
        lingering_time=2.0,
        auto_decompress=False,
        shutdown_timeout=drain_s,
        handle_signals=False,
    )
    await runner.setup()
    try:
        for site in _sites(runner, host, port, handed):
            await site.start()
        yield int(runner.addresses[0][1])
    finally:
        if linger_s:
            await _leave(runner, linger_s)
        await runner.cleanup()


def _sites(runner: _Runner, host: str, port: int, handed: Sequence[socket.socket]) -> list[web.BaseSite]:
    both = dual_stack(port, BACKLOG) if host == EVERY_ADDRESS and not handed else None
    # a site closes its socket when it stops; the one that was handed over may be served once more
    sockets = [one.dup() for one in handed] if both is None else [both]
    if not sockets:
        return [web.TCPSite(runner, host, port, backlog=BACKLOG, reuse_address=True)]
    return [web.SockSite(runner, one, backlog=BACKLOG) for one in sockets]


async def _leave(runner: _Runner, linger_s: float) -> None:
    """Accept no more connections, and give each open one the time for one more request, whose answer ends it: a client
    that sends while its connection is being closed cannot know whether it was heard."""
    for site in runner.sites:
        await site.stop()
    server = cast("_Server", runner.server)
    server.leaving = True
    loop = asyncio.get_running_loop()
    give_up = loop.time() + linger_s
    await asyncio.sleep(ACCEPTED_S)
    while server.connections and loop.time() < give_up:  # noqa: ASYNC110 - aiohttp has no event for it
        await asyncio.sleep(0.01)
