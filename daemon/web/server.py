"""The HTTP server of the process: webhooks, health, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeAlias

import orjson
import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from daemon.telemetry.metrics import Metrics
from daemon.web.listener import Listener
from daemon.web.problems import problem

HEADER_TIMEOUT_S: Final = 30.0
"""How long a connection may stay without a whole request header, whether it is idle or sends its header slowly."""


MOST_CONNECTIONS: Final = 2000

log = structlog.get_logger(__name__)


class Health(Protocol):
    """What the route /readyz needs."""

    def ready(self) -> dict[str, Any]:
        """The document of /readyz; `ready` decides between 200 and 503."""
        ...


@web.middleware
async def _problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
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


def application(listener: Listener, health: Health, metrics: Metrics) -> web.Application:
    """The routes that are served with the settings at hand."""
    app = web.Application(middlewares=[_problems], client_max_size=2**40)  # the listener has its own cap, by bytes read
    for source in listener.sources:
        if listener.served(source):
            app.router.add_post(source.path, listener.handler(source))
            if source.challenge is not None:
                app.router.add_get(source.path, listener.challenge(source))

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

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

    app.router.add_get("/livez", live)
    app.router.add_get("/healthz", live)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", page)
    return app


class _Connection(RequestHandler):
    """A connection whose unreadable requests get a problem document; aiohttp's own answer and log line quote them."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the server itself could not read, or could not handle."""
        if status >= 500:
            log.error("http.failed", error_class=type(exc).__name__)
        answer = problem(status, "the request cannot be read as HTTP" if status < 500 else "this server failed")
        answer.force_close()
        return answer


class _Server(web.Server):
    """Hands out connections of ours, up to a number."""

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection, or close it at once when there are too many."""
        super().connection_made(handler, transport)
        if len(self._connections) > MOST_CONNECTIONS:
            transport.abort()


class _Runner(web.AppRunner):
    """Sets the class of its server. aiohttp has no public way to do this; a test guards this one."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        server.request_handler = _straight(self.app, server.request_handler)
        return server


_Handler: TypeAlias = Callable[[Any], Awaitable[web.StreamResponse]]


def _straight(app: web.Application, by_the_router: _Handler) -> _Handler:
    """Sends a plain webhook request straight to its handler, since router and middleware would cost as much as checking
    its signature. Every other request goes through the router."""
    webhooks: dict[str, _Handler] = {
        path: route.handler for route in app.router.routes() if (path := _webhook_path(route)) is not None
    }

    def handler(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        webhook = webhooks.get(request.path) if request.method == "POST" and "Expect" not in request.headers else None
        return by_the_router(request) if webhook is None else webhook(request)

    return handler


def _webhook_path(route: web.AbstractRoute) -> str | None:
    resource = route.resource
    return resource.canonical if route.method == "POST" and isinstance(resource, web.PlainResource) else None


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int, *, drain_s: float) -> AsyncIterator[int]:
    """Serve *app*; yields the port. Raises OSError when the address is in use or not ours."""
    runner = _Runner(
        app,
        access_log=None,
        keepalive_timeout=HEADER_TIMEOUT_S,
        lingering_time=2.0,
        auto_decompress=False,
        shutdown_timeout=drain_s,
        handle_signals=False,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=1024, reuse_address=True)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
