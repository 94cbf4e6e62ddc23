"""`/api/v1/content-orders`: look at an order of content, and say that it is ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import web

from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import guarded, id_of, json_answer
from daemon.bus.worker import Outside
from daemon.operator import content_orders
from daemon.settings.in_force import InForce
from schemas.api.content_orders import ContentOrderOut, ContentOrderReady

ONE: Final = "/api/v1/content-orders/{id}"
WHAT: Final = "order of content"


@dataclass(frozen=True, slots=True)
class ContentOrdersApi:
    """The routes of orders of content. *outside*: what people are answered by."""

    in_force: InForce
    access: Access
    outside: Outside

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.get(ONE, guarded(self.access, self._get, write=False)),
            web.post(ONE + "/ready", guarded(self.access, self._ready, write=True)),
        ]

    @described("Show an order of content", gives=ContentOrderOut)
    async def _get(self, request: web.Request) -> web.Response:
        return json_answer(await content_orders.show(self._outside(), id_of(request, WHAT)))

    @described("Say that an order of content is ready", gives=ContentOrderReady)
    async def _ready(self, request: web.Request) -> web.Response:
        """Its person is told once, where `notify_on_ready` of their user is set; else `why` says why not. Outside the
        customer-service window the notice ends as `skipped`, as `GET` shows. Done again, it changes nothing."""
        outside = self._outside()
        made = await content_orders.ready(outside, id_of(request, WHAT))
        if made.events:
            await outside.hurry(made.events, made.seqs)
        return json_answer(made.document)

    def _outside(self) -> Outside:
        return replace(self.outside, settings=self.in_force.settings)
