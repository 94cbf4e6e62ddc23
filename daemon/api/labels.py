"""`/api/v1/conversations/labels`: labels and attributes in the CRM."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.pool import Pool
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import body_of, guarded, json_answer, key_of, read
from daemon.bus.worker import Clock
from daemon.operator import label_requests
from daemon.settings.in_force import InForce
from schemas.api.labels import LabelsAccepted, LabelsIn
from schemas.envelope import Event

PATH: Final = "/api/v1/conversations/labels"


@dataclass(frozen=True, slots=True)
class LabelsApi:
    """The route of labels. *hurry*: publishes events of the outbox, by their numbers, without waiting for the
    sweeper."""

    pool: Pool
    in_force: InForce
    access: Access
    now: Clock
    hurry: Callable[[Sequence[Event], Sequence[int]], Awaitable[None]]

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [web.post(PATH, guarded(self.access, self._post, write=True))]

    @described("Put labels on a conversation", takes=LabelsIn, gives=LabelsAccepted, status=202, keyed=True)
    async def _post(self, request: web.Request) -> web.Response:
        """Contact and conversation are found or made in Chatwoot, and nobody else's labels are lost. 422 where Chatwoot
        is not configured."""
        given, key = read(LabelsIn, parse_object, await body_of(request)), key_of(request)
        asked = await label_requests.request(self.pool, self.in_force.settings, given, key=key, now=self.now())
        if asked.events:
            await self.hurry(asked.events, asked.seqs)
        return json_answer({"event_id": asked.event_id}, status=202)
