"""`/api/v1/events/{id}`: the way of one event through every worker, masked.

What looks is imported when somebody first asks: a daemon starts without the operators' verbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import guarded, json_answer, name_of
from daemon.operator import masked
from daemon.operator.faults import NotThere
from daemon.operator.naming import NOT_KEPT, the_event
from daemon.workers import WORKERS
from schemas.api.bulk import Shown


@dataclass(frozen=True, slots=True)
class EventsApi:
    """The route of one event."""

    pool: Pool
    bus: Streams
    access: Access

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [web.get("/api/v1/events/{id}", guarded(self.access, self._get, write=False))]

    @described("Show an event, masked", named="the event's id", gives=Shown, problems=(409,))
    async def _get(self, request: web.Request) -> web.Response:
        """How each worker ended with it or why it has not, everything that happened to it in order, its dead letters,
        and what it has brought about."""
        from daemon.operator.event_timeline import document, steps_of
        from daemon.operator.trail import trail_of
        from daemon.operator.why.answer import Here, why_all

        found = await the_event(self.pool, name_of(request, "event"))
        trail = await trail_of(self.pool, WORKERS, found)
        if trail is None:
            raise NotThere(NOT_KEPT)
        why = await why_all(Here(self.pool, self.bus), trail, WORKERS)
        return json_answer(masked.event(document(trail, await steps_of(self.pool, trail), why)))
