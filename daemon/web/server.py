"""The HTTP server of the process: webhooks, health, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeAlias, cast

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware
from aiohttp.web_protocol import RequestHandler
from yarl import URL

from daemon.telemetry.failures import fields
from daemon.telemetry.metrics import Metrics
from daemon.web import paths
from daemon.web.connections import Connections, address_of
from daemon.web.listener import Listener
from daemon.web.place import EVERY_ADDRESS, dual_stack
from daemon.web.problems import problem

HEADER_TIMEOUT_S: Final = 30.0
"""How long a connection may stay without its first whole request header, whether it is idle or sends it slowly."""

BACKLOG: Final = 1024
KEEPALIVE_S: Final = 75.0
"""How long a connection stays open after an answer, when the settings do not say it."""

CONNECTIONS: Final = web.AppKey("connections", Connections)
"""Where an application says which connections its server takes."""

log = structlog.get_logger(__name__)


class Health(Protocol):
    """What the route /readyz needs."""

    def ready(self) -> dict[str, Any]:
        """The document of /readyz; `ready` decides between 200 and 503."""
        ...


_Next: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _problems(request: web.Request, handler: _Next) -> web.StreamResponse:
    """Turn every error into a problem document, also those that the server itself finds."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as exc:
        allowed = ", ".join(sorted(exc.allowed_methods))
        return problem(405, f"use {allowed} here", headers={"Allow": allowed})
    except web.HTTPNotFound:
        return problem(404, "there is nothing at this path; README.md lists the paths that are served")
    except web.HTTPException as exc:
        if exc.status < 400:
            raise
        return problem(exc.status, "the request cannot be served as it is")


def _noting_strays(listener: Listener) -> Middleware:
    """A middleware by which no 404 and no 405 goes without a trace, and a 404 names the path that may be meant."""

    @web.middleware
    async def noting(request: web.Request, handler: _Next) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed:
            await listener.stray(request, 405)
            raise
        except web.HTTPNotFound:
            await listener.stray(request, 404)
            near = paths.nearest(request.path, listener.paths)
            if near is None:
                raise
            return problem(404, f"there is nothing at this path; the nearest one that is served is {near}")

    return noting


def application(listener: Listener, health: Health, metrics: Metrics, *, health_apart: bool = False) -> web.Application:
    """The routes that are served with the settings at hand. *health_apart*: another port has `health_application`, and
    this one tells nobody how the process is, beyond that it lives."""
    app = web.Application(
        middlewares=[_problems, _noting_strays(listener)],
        client_max_size=2**40,  # the listener has its own cap, by bytes read
    )
    app[CONNECTIONS] = Connections(metrics)
    for source in listener.sources:
        if listener.served(source):
            app.router.add_post(source.path, listener.handler(source))
            if source.challenge is not None:
                app.router.add_get(source.path, listener.challenge(source))
    _add_life(app)
    if not health_apart:
        _add_health(app, health, metrics)
    return app


def health_application(health: Health, metrics: Metrics) -> web.Application:
    """What tells how the process is, for a port of its own."""
    app = web.Application(middlewares=[_problems])
    app[CONNECTIONS] = Connections(metrics)
    _add_life(app)
    _add_health(app, health, metrics)
    return app


def _add_life(app: web.Application) -> None:
    async def live(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app.router.add_get("/livez", live)
    app.router.add_get("/healthz", live)


def _add_health(app: web.Application, health: Health, metrics: Metrics) -> None:
    async def ready(_: web.Request) -> web.Response:
        document = health.ready()
        return web.Response(
            body=orjson.dumps(document, option=orjson.OPT_SORT_KEYS),
            status=200 if document["ready"] else 503,
            content_type="application/json",
            headers={} if document["ready"] else {"Retry-After": "2"},
        )

    async def page(request: web.Request) -> web.Response:
        body, content_type = metrics.render(request.headers.get("Accept"))
        return web.Response(body=body, headers={"Content-Type": content_type})

    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", page)


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
        return super().finish_response(request, resp, start_time)

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
    """Hands out connections of ours."""

    room: Connections

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    """Sets the class of its server. aiohttp has no public way to do this; a test guards this one."""

    async def _make_server(self) -> web.Server:
        server = cast("_Server", await super()._make_server())
        server.__class__ = _Server
        server.room = self.app[CONNECTIONS]
        server.request_handler = _straight(self.app, server.request_handler)
        return server


_Handler: TypeAlias = Callable[[Any], Awaitable[web.StreamResponse]]


def _straight(app: web.Application, by_the_router: _Handler) -> _Handler:
    """Sends a plain webhook request straight to its handler, since router and middleware would cost as much as checking
    its signature. Every other request goes through the router, without the slashes that its path has too many."""
    webhooks: dict[str, _Handler] = {
        path: route.handler for route in app.router.routes() if (path := _webhook_path(route)) is not None
    }
    served = {resource.canonical for resource in app.router.resources()}

    def handler(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        path = request.path
        webhook = webhooks.get(path) if request.method == "POST" and "Expect" not in request.headers else None
        if webhook is not None:
            return webhook(request)
        if path not in served and (meant := paths.clean(path)) in served:
            request = request.clone(rel_url=URL.build(path=meant, query_string=request.query_string))
        return by_the_router(request)

    return handler


def _webhook_path(route: web.AbstractRoute) -> str | None:
    resource = route.resource
    return resource.canonical if route.method == "POST" and isinstance(resource, web.PlainResource) else None


@asynccontextmanager
async def serving(
    app: web.Application, host: str, port: int, *, drain_s: float, keepalive_s: float = KEEPALIVE_S
) -> AsyncIterator[int]:
    """Serve *app*, which has CONNECTIONS; yields the port. Raises OSError when the address
    is in use or not ours."""
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
        both = dual_stack(port, BACKLOG) if host == EVERY_ADDRESS else None
        if both is None:
            site: web.BaseSite = web.TCPSite(runner, host, port, backlog=BACKLOG, reuse_address=True)
        else:
            site = web.SockSite(runner, both, backlog=BACKLOG)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
