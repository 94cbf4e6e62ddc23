"""The routes of the pages as the HTTP server takes them: each guarded by host, session, role and proof of origin.

This module is imported at the start of the daemon; pages, templates and their library at the first request.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from aiohttp import web

from adapters.postgres.pool import PostgresError, store_is_down
from daemon.operator.faults import Conflict, NotThere, Unusable
from daemon.pages.gate import CSRF_FIELD, HEADERS, Gate, is_csrf, is_ours
from daemon.pages.routes import ROUTES, PageRoute, allows
from daemon.telemetry.failures import fields

if TYPE_CHECKING:
    from adapters.postgres.pool import Pool
    from adapters.redis.streams import Streams
    from daemon.operator.runs import Runs
    from daemon.pages.visit import Frame, Visit
    from daemon.records.pushing.service import Records
    from daemon.settings.in_force import InForce
    from daemon.settings.model import Settings

_FAULTS: Final = {Unusable: 422, NotThere: 404, Conflict: 409}
"""What `daemon.operator` refuses, by status."""

log = structlog.get_logger(__name__)


class Pages:
    """The pages of one process. *settings*: with the addresses of the stores. *pool*: for what changes something;
    *read*: the pages' own, whose transactions only read, so that no page starves what comes in. *bus*: the streams.
    *in_force*, *runs*: of the process, whose secrets may change, and which works on behind its answers. *records*: by
    which records are written."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        read: Pool,
        bus: Streams,
        *,
        in_force: InForce,
        runs: Runs,
        records: Records,
        table: Sequence[PageRoute] = ROUTES,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._read = read
        self._bus = bus
        self._in_force = in_force
        self._runs = runs
        self._records = records
        self._gate = Gate(settings)
        self._table = table
        self._made: Frame | None = None

    def routes(self) -> list[web.RouteDef]:
        """What they answer."""
        return [web.RouteDef(one.method, one.path, self._guarded(one), {}) for one in self._table]

    async def run(self, stop: asyncio.Event) -> None:
        """Until *stop*; then end the streams, which would hold up the end of the server."""
        await stop.wait()
        if self._made is not None:
            self._made.broadcaster.stop()

    def _guarded(self, route: PageRoute) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            answer = await self._answer(route, request)
            if not answer.prepared:
                for name, value in HEADERS.items():
                    answer.headers.setdefault(name, value)
            return answer

        return handle

    async def _answer(self, route: PageRoute, request: web.Request) -> web.StreamResponse:
        if not self._gate.knows_host(request.host):
            return web.Response(status=421, text="This server has another name: open it by FERRYMAN_PUBLIC_URL.\n")
        frame = await self._frame()
        visit = frame.visit(request)
        try:
            return await self._handled(route, visit)
        except web.HTTPException as exc:
            return visit.error(exc.status, exc.text or exc.reason)
        except (Unusable, NotThere, Conflict) as exc:
            return visit.error(next(s for fault, s in _FAULTS.items() if isinstance(exc, fault)), f"{exc}.")
        except Exception as exc:
            return self._failed(visit, exc)

    async def _handled(self, route: PageRoute, visit: Visit) -> web.StreamResponse:
        """Raises: web.HTTPException, and what the handler raises."""
        if route.method == "POST" and not is_ours(visit.request):
            return visit.error(403, "This form was sent from another site, or by no browser.")
        await visit.recognise()
        if route.role != "anybody":
            if visit.session is None:
                return visit.see(visit.login_address())
            if not allows(visit.session.role, route.role):
                return visit.error(403, f"This is for the role {route.role}, and yours is {visit.session.role}.")
        if route.method == "POST" and visit.session is not None:
            given = (await visit.form()).get(CSRF_FIELD, "")
            if not is_csrf(visit.token, given):
                return visit.error(403, "This form is of another session: go back, load the page anew and try again.")
        return await self._handler(route)(visit)

    def _handler(self, route: PageRoute) -> Callable[[Any], Awaitable[web.StreamResponse]]:
        module, _, name = route.handler.partition(":")
        found = getattr(import_module(module if "." in module else f"daemon.pages.{module}"), name)
        return cast("Callable[[Any], Awaitable[web.StreamResponse]]", found)

    def _failed(self, visit: Visit, exc: Exception) -> web.StreamResponse:
        """The page of an error that nobody foresaw; the log has its id."""
        id = secrets.token_hex(4)
        if isinstance(exc, PostgresError | OSError | TimeoutError) and store_is_down(exc):
            log.warning("page.store_away", id=id, **fields(exc))
            return visit.error(503, "The database does not answer, or takes too long: try again.", id=id)
        log.error("page.failed", id=id, **fields(exc))
        return visit.error(500, "This page has failed.", id=id)

    async def _frame(self) -> Frame:
        """What all pages share, made at the first request: its imports would be most of a start."""
        if self._made is None:
            made = (await asyncio.to_thread(import_module, "daemon.pages.visit")).Frame(
                self._settings,
                self._pool,
                self._read,
                self._bus,
                self._gate,
                self._table,
                in_force=self._in_force,
                runs=self._runs,
                records=self._records,
            )
            self._made = self._made or made
        return self._made
