"""`/api/v1/overview`: whether all is well, and what needs a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from adapters.postgres.pool import Pool
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import guarded, json_answer
from daemon.operator.overview import read_overview
from schemas.api.bulk import Shown


@dataclass(frozen=True, slots=True)
class OverviewApi:
    """The route of the overview."""

    pool: Pool
    access: Access

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [web.get("/api/v1/overview", guarded(self.access, self._get, write=False))]

    @described("Whether all is well, and what needs a person", gives=Shown)
    async def _get(self, request: web.Request) -> web.Response:
        """Flow by minute, lag and its trend by worker, providers, stores, pauses, and what needs a person."""
        return json_answer(await read_overview(self.pool))
