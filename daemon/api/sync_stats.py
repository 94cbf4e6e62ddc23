"""`/api/v1/sync/stats`: how the sync of records stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from adapters.postgres.pool import Pool
from daemon.api.access import Access, principal_of
from daemon.api.description import described
from daemon.api.requests import guarded, json_answer
from daemon.bus.worker import Clock
from daemon.records.stats import stats
from daemon.settings.in_force import InForce
from schemas.api.sync_stats import SyncStats

PATH: Final = "/api/v1/sync/stats"


@dataclass(frozen=True, slots=True)
class SyncStatsApi:
    """The route of the counts."""

    access: Access
    pool: Pool
    in_force: InForce
    now: Clock

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [web.get(PATH, guarded(self.access, self._get, write=False, records=True))]

    @described("How the sync of records stands", gives=SyncStats)
    async def _get(self, request: web.Request) -> web.Response:
        return json_answer(await stats(self.pool, self.in_force.settings, self.now(), principal_of(request)))
