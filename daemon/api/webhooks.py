"""`/api/v1/webhooks`: subscribers of outgoing webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aiohttp import web
from pydantic import BaseModel

from adapters.json_guard import parse_object
from adapters.postgres.pool import Pool
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import Handler, body_of, guarded, json_answer, query_of, read
from daemon.api.tokens import actor_of
from daemon.operator import deliveries_again, subscribing
from daemon.operator.deliveries_again import NEWEST
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from schemas.api.webhooks import (
    DeliveryQuery,
    DisableIn,
    EnableIn,
    RetryIn,
    WebhookAgain,
    WebhookDeliveries,
    WebhookIn,
    WebhookMade,
    WebhookRemoved,
    WebhookReplayIn,
    WebhookRotated,
    Webhooks,
    WebhookShown,
    WebhookTested,
)

PATH: Final = "/api/v1/webhooks"

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class WebhooksApi:
    """The routes of subscribers. All are for admins: an address of a subscriber may be a secret."""

    pool: Pool
    in_force: InForce
    access: Access

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        one = PATH + "/{name}"
        return [
            web.get(PATH, self._guarded(self._list)),
            web.post(PATH, self._guarded(self._add)),
            web.get(one, self._guarded(self._show)),
            web.delete(one, self._guarded(self._remove)),
            web.get(one + "/deliveries", self._guarded(self._deliveries)),
            web.post(one + "/test", self._guarded(self._test)),
            web.post(one + "/rotate", self._guarded(self._rotate)),
            web.post(one + "/enable", self._guarded(self._enable)),
            web.post(one + "/disable", self._guarded(self._disable)),
            web.post(one + "/retry", self._guarded(self._retry)),
            web.post(one + "/replay", self._guarded(self._replay)),
        ]

    def _guarded(self, handler: Handler) -> Handler:
        return guarded(self.access, handler, write=True)

    @property
    def _settings(self) -> Settings:
        return self.in_force.settings

    @described("List the subscribers of outgoing webhooks", gives=Webhooks)
    async def _list(self, request: web.Request) -> web.Response:
        found = await subscribing.listed(self.pool, self._settings)
        return json_answer({"data": found, "next": None, "prev": None})

    @described("Add a subscriber", takes=WebhookIn, gives=WebhookMade, status=201, problems=(409,))
    async def _add(self, request: web.Request) -> web.Response:
        """Its secret is shown this once. It is told of events from now on."""
        asked = read(WebhookIn, parse_object, await body_of(request))
        wanted = subscribing.wanted(self._settings, asked.name, asked.url, asked.types, full=asked.full)
        return _with_secret(await subscribing.add(self.pool, self._settings, wanted, actor_of(request)), 201)

    @described("Show a subscriber", gives=WebhookShown)
    async def _show(self, request: web.Request) -> web.Response:
        return json_answer(await subscribing.shown(self.pool, self._settings, _name(request)))

    @described("Remove a subscriber with its deliveries", gives=WebhookRemoved)
    async def _remove(self, request: web.Request) -> web.Response:
        count = await subscribing.remove(self.pool, _name(request), actor_of(request))
        return json_answer({"name": _name(request), "deliveries": count})

    @described("List the deliveries to a subscriber", query=DeliveryQuery, gives=WebhookDeliveries)
    async def _deliveries(self, request: web.Request) -> web.Response:
        query = query_of(request, DeliveryQuery)
        before = NEWEST if query.cursor is None else query.cursor
        found = await deliveries_again.deliveries_of(self.pool, _name(request), query.state, before, query.limit)
        following = found[-1]["id"] if len(found) == query.limit else None
        return json_answer({"data": found, "next": following, "prev": None})

    @described("Send a subscriber a signed test", gives=WebhookTested, problems=(422,))
    async def _test(self, request: web.Request) -> web.Response:
        """Whatever its state is. Answers within 20 seconds."""
        return json_answer(await subscribing.try_out(self.pool, self._settings, _name(request)))

    @described("Give a subscriber a new secret", gives=WebhookRotated, problems=(422,))
    async def _rotate(self, request: web.Request) -> web.Response:
        """The former one signs beside it for 24 hours."""
        made = await subscribing.rotate(self.pool, self._settings, _name(request), actor_of(request))
        return _with_secret(made, 200)

    @described("Enable a subscriber", takes=EnableIn, optional=True, gives=WebhookShown)
    async def _enable(self, request: web.Request) -> web.Response:
        asked = await _read(request, EnableIn)
        made = await subscribing.enable(self.pool, self._settings, _name(request), actor_of(request), asked.backlog)
        return json_answer(made)

    @described("Disable a subscriber", takes=DisableIn, optional=True, gives=WebhookShown)
    async def _disable(self, request: web.Request) -> web.Response:
        """Its events wait."""
        asked = await _read(request, DisableIn)
        made = await subscribing.disable(self.pool, self._settings, _name(request), actor_of(request), asked.reason)
        return json_answer(made)

    @described("Send failed deliveries again", takes=RetryIn, optional=True, gives=WebhookAgain)
    async def _retry(self, request: web.Request) -> web.Response:
        asked = await _read(request, RetryIn)
        ids = None if asked.deliveries is None else tuple(asked.deliveries)
        plan = await deliveries_again.plan_retry(self.pool, _name(request), ids, asked.error)
        if asked.dry_run:
            return _planned(plan.total)
        return _planned(plan.total, await deliveries_again.retry(self.pool, plan, actor_of(request)))

    @described("Tell a subscriber once more what a time has brought", takes=WebhookReplayIn, gives=WebhookAgain)
    async def _replay(self, request: web.Request) -> web.Response:
        """Each under the id that it had."""
        asked = read(WebhookReplayIn, parse_object, await body_of(request))
        types = None if asked.types is None else tuple(asked.types)
        plan = await deliveries_again.plan_replay(self.pool, _name(request), asked.since, asked.until, types)
        if asked.dry_run:
            return _planned(plan.total)
        return _planned(plan.total, await deliveries_again.perform_replay(self.pool, plan, actor_of(request)))


def _name(request: web.Request) -> str:
    return request.match_info["name"]


async def _read(request: web.Request, model: type[M]) -> M:
    """Its body, which may be left out. Raises: Refused."""
    body = await body_of(request)
    return read(model, parse_object, body) if body.strip() else model()


def _with_secret(made: dict[str, Any], status: int) -> web.Response:
    answer = json_answer(made, status=status)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _planned(total: int, done: dict[str, Any] | None = None) -> web.Response:
    return json_answer({"planned": total, **(done or {"done": None, "skipped": []})})
