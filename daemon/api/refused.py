"""`/api/v1/refused/{id}`: a refused webhook, masked; and once more, where its sender was proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.pool import Pool
from adapters.registry import SOURCES
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import body_of, guarded, json_answer, number_of, read
from daemon.api.tokens import actor_of
from daemon.bus.worker import Clock
from daemon.operator import masked, refused
from schemas.api.bulk import SendAgainIn, SentAgain, Shown

ONE: Final = "/api/v1/refused/{id}"
_NUMBER: Final = "the request's number"


@dataclass(frozen=True, slots=True)
class RefusedApi:
    """The routes of refused requests, but their list."""

    pool: Pool
    access: Access
    now: Clock

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.get(ONE, guarded(self.access, self._get, write=False)),
            web.post(ONE + "/send", guarded(self.access, self._send, write=True, role="operate")),
        ]

    @described("Show a refused webhook, masked", named=_NUMBER, gives=Shown)
    async def _get(self, request: web.Request) -> web.Response:
        kept = await refused.find(self.pool, number_of(request, "refused request"))
        return json_answer(masked.refused(refused.whole_document(kept)))

    @described(
        "Send a refused webhook again",
        named=_NUMBER,
        takes=SendAgainIn,
        optional=True,
        gives=SentAgain,
        problems=(409,),
    )
    async def _send(self, request: web.Request) -> web.Response:
        """As it was, or with a mended *body*. A running daemon takes it over within seconds."""
        given = await body_of(request)
        asked = read(SendAgainIn, parse_object, given) if given.strip() else SendAgainIn()
        number = number_of(request, "refused request")
        kept = await refused.find(self.pool, number)
        body = None if asked.body is None else orjson.dumps(asked.body)
        events = refused.events_of(kept, SOURCES, self.now(), body=body)
        known = await refused.known(self.pool, events)
        if not asked.dry_run:
            await refused.send(self.pool, number, events, actor_of(request))
        return json_answer({"event_ids": [event.id for event in events], "known": sorted(known)})
