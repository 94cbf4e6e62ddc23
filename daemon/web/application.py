"""What the HTTP server of the process serves: webhooks, health, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware

from daemon.telemetry.metrics import Metrics
from daemon.web.connections import Connections
from daemon.web.listener import Listener
from daemon.web.problems import problem
from daemon.web.server import CONNECTIONS


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
            return await listener.nowhere(request)

    return noting


def application(
    listener: Listener,
    health: Health,
    metrics: Metrics,
    *,
    health_apart: bool = False,
    more: Sequence[web.RouteDef] = (),
) -> web.Application:
    """The routes that are served with the settings at hand. *health_apart*: another port has `health_application`, and
    this one tells nobody how the process is, beyond that it lives. *more*: routes of the API."""
    app = web.Application(
        middlewares=[_problems, _noting_strays(listener)],
        client_max_size=2**40,  # the listener has its own cap, by bytes read
    )
    app[CONNECTIONS] = Connections(metrics)
    listener.others = list(dict.fromkeys(route.path for route in more if "{" not in route.path))
    for source in listener.sources:  # also of one that is not served: its secret may be stored later
        app.router.add_post(source.path, listener.handler(source))
        if source.challenge is not None:
            app.router.add_get(source.path, listener.challenge(source))
    app.add_routes(more)
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
