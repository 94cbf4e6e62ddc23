"""`/api/v1/people/{id}` and `/api/v1/find`: people, masked until somebody says why they look.

What looks is imported when somebody first asks: a daemon starts without the operators' verbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import body_of, guarded, id_of, json_answer, read
from daemon.api.tokens import actor_of
from daemon.operator import masked
from schemas.api.bulk import FindIn, Found, RevealIn, Shown

ONE: Final = "/api/v1/people/{id}"


@dataclass(frozen=True, slots=True)
class PeopleApi:
    """The routes of people, but their list."""

    pool: Pool
    bus: Streams
    access: Access

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.get(ONE, guarded(self.access, self._get, write=False)),
            web.post(ONE + "/reveal", guarded(self.access, self._reveal, write=True, role="operate")),
            web.post("/api/v1/find", guarded(self.access, self._find, write=False)),
        ]

    @described("Show a person, masked", gives=Shown)
    async def _get(self, request: web.Request) -> web.Response:
        """Identities, one timeline over all systems, what waits and why, merges."""
        return json_answer(masked.person(await self._shown(request, reason=None)))

    @described("Show a person unmasked, for a reason", takes=RevealIn, gives=Shown)
    async def _reveal(self, request: web.Request) -> web.Response:
        """The audit log keeps who has asked, and why."""
        reason = read(RevealIn, parse_object, await body_of(request)).reason
        answer = json_answer(await self._shown(request, reason=reason))
        answer.headers["Cache-Control"] = "no-store"
        return answer

    async def _shown(self, request: web.Request, *, reason: str | None) -> dict[str, Any]:
        from daemon.operator import person
        from daemon.operator.why.answer import Here

        id = str(id_of(request, "person"))
        here = Here(self.pool, self.bus)
        return await person.show(here, id, reveal=reason is not None, actor=actor_of(request), reason=reason)

    @described("Find a customer, an order, an event or a message", takes=FindIn, gives=Found)
    async def _find(self, request: web.Request) -> web.Response:
        """At most 20 of each kind, without anything that tells who somebody is."""
        from daemon.operator import search

        asked = read(FindIn, parse_object, await body_of(request))
        return json_answer({"data": [hit.document() for hit in await search.search(self.pool, asked.text)]})
