"""`/api/v1/pauses`: what stands still, by whom and why; pause and resume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.bus import pauses as stored
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import body_of, guarded, json_answer, read
from daemon.api.tokens import actor_of
from daemon.operator import pauses
from daemon.workers import WORKERS
from schemas.api.bulk import Paused, PauseIn, PauseList, ResumeIn

PATH: Final = "/api/v1/pauses"


@dataclass(frozen=True, slots=True)
class PausesApi:
    """The routes of pauses."""

    pool: Pool
    bus: Streams
    access: Access

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.get(PATH, guarded(self.access, self._list, write=False)),
            web.post(PATH, guarded(self.access, self._pause, write=True, role="operate")),
            web.post(PATH + "/resume", guarded(self.access, self._resume, write=True, role="operate")),
        ]

    @described("What is paused, by whom and why", gives=PauseList)
    async def _list(self, request: web.Request) -> web.Response:
        found = await stored.listed(self.pool)
        rows = [{"name": name, **pauses.document(pause)} for name, pause in found.items()]
        return json_answer({"data": rows, "next": None, "prev": None})

    @described("Pause a worker or a provider", takes=PauseIn, gives=Paused)
    async def _pause(self, request: web.Request) -> web.Response:
        """In every process, within two seconds. Webhooks are accepted as before."""
        asked = read(PauseIn, parse_object, await body_of(request))
        return await self._set(request, asked.name, True, asked.dry_run, asked.reason)

    @described("Let a paused worker or provider go on", takes=ResumeIn, gives=Paused)
    async def _resume(self, request: web.Request) -> web.Response:
        """Also one that was paused by itself, because its provider has asked for that."""
        asked = read(ResumeIn, parse_object, await body_of(request))
        return await self._set(request, asked.name, False, asked.dry_run, None)

    async def _set(
        self, request: web.Request, name: str, paused: bool, dry_run: bool, reason: str | None
    ) -> web.Response:
        changes = await pauses.set_paused(
            self.pool,
            self.bus.redis,
            WORKERS,
            name,
            paused=paused,
            dry_run=dry_run,
            by=actor_of(request),
            reason=reason,
        )
        return json_answer({"name": name, "paused": paused, "changes": changes})
