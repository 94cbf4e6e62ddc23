"""`/api/v1/uncertain/settle`: messages that may have been sent, settled by what a person has found out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.pool import Pool
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import body_of, guarded, json_answer, read
from daemon.api.tokens import actor_of
from daemon.bus.worker import Clock
from daemon.operator import uncertain
from schemas.api.bulk import Done, SettleIn


@dataclass(frozen=True, slots=True)
class UncertainApi:
    """The route that settles."""

    pool: Pool
    access: Access
    now: Clock

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [web.post("/api/v1/uncertain/settle", guarded(self.access, self._settle, write=True, role="operate"))]

    @described("Settle messages that may have been sent", takes=SettleIn, gives=Done)
    async def _settle(self, request: web.Request) -> web.Response:
        """*dry_run* says how many could be settled. Each is settled by itself, and each is in the audit log."""
        asked = read(SettleIn, parse_object, await body_of(request))
        told = await uncertain.settle_all(
            self.pool, asked.ids, asked.verdict, actor_of(request), self.now(), dry_run=asked.dry_run
        )
        return json_answer(told)
