"""`/api/v1/uncertain/settle`: messages that may have been sent, settled by what a person has found out."""

from __future__ import annotations

from collections import Counter
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
from daemon.operator.sending import NoSuchMessage
from daemon.operator.uncertain import NotUncertain
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
        done, skipped = 0, Counter[str]()
        for id in dict.fromkeys(asked.ids):
            try:
                await uncertain.settle(
                    self.pool, id, asked.verdict, actor_of(request), self.now(), dry_run=asked.dry_run
                )
                done += 1
            except NoSuchMessage:
                skipped["there is no such message"] += 1
            except NotUncertain:
                skipped["it is not uncertain any more"] += 1
        told = [{"reason": reason, "count": count} for reason, count in skipped.items()]
        return json_answer({"done": done, "skipped": told})
