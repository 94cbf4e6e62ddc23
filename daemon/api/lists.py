"""The lists of operators: one route for each, all alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from aiohttp import web
from pydantic import BaseModel, Field, create_model

from adapters.postgres.pool import Pool
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import Handler, guarded, json_answer, query_of
from daemon.operator.lists import (
    audit_log,
    dead_letters,
    events,
    messages,
    orders,
    people,
    refused,
    replays,
    syncs,
)
from daemon.operator.lists.pages import Page, Position
from schemas.api import lists as models
from schemas.api.lists import MOST

Reader: TypeAlias = Callable[[Pool, Any, Position], Awaitable[Page]]


class ListRoute(NamedTuple):
    """A list at *path*, by *filter*; its answer is *page*."""

    path: str
    summary: str
    filter: type[BaseModel]
    page: type[BaseModel]
    reader: Reader


LISTS: Final = (
    ListRoute("orders", "List orders, the newest first", models.OrderFilter, models.OrderPage, orders.page),
    ListRoute("events", "List events, the newest first", models.EventFilter, models.EventPage, events.page),
    ListRoute(
        "dead-letters", "List dead letters, the newest first", models.LetterFilter, models.LetterPage, dead_letters.page
    ),
    ListRoute(
        "uncertain",
        "List messages that may have been sent",
        models.UncertainFilter,
        models.UncertainPage,
        messages.uncertain,
    ),
    ListRoute(
        "refused", "List refused webhooks, the newest first", models.RefusedFilter, models.RefusedPage, refused.page
    ),
    ListRoute("replays", "List replays, the newest first", models.ReplayFilter, models.ReplayPage, replays.page),
    ListRoute("syncs", "List bulk syncs of orders, the newest first", models.SyncFilter, models.SyncPage, syncs.page),
    ListRoute("audit-log", "List what was done, newest first", models.AuditFilter, models.AuditPage, audit_log.page),
    ListRoute("people", "List people, the newest first", models.PeopleFilter, models.PeoplePage, people.page),
)


@dataclass(frozen=True, slots=True)
class ListsApi:
    """The routes of lists."""

    pool: Pool
    access: Access

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.get(f"/api/v1/{one.path}", guarded(self.access, _handler(self.pool, one), write=False)) for one in LISTS
        ]


def asked_by(filter: type[BaseModel]) -> type[BaseModel]:
    """*filter* with the page that is asked for."""
    return create_model(
        filter.__name__.replace("Filter", "Query"),
        __base__=filter,
        __doc__=filter.__doc__,
        limit=(int, Field(default=50, ge=1, le=MOST, description="rows of the page")),
        cursor=(str | None, Field(default=None, max_length=1000, description="`next` or `prev` of another page")),
    )


def _handler(pool: Pool, one: ListRoute) -> Handler:
    query = asked_by(one.filter)

    @described(one.summary, query=query, gives=one.page, problems=(422,))
    async def answer(request: web.Request) -> web.Response:
        asked: Any = query_of(request, query)
        wanted = one.filter.model_validate(asked.model_dump(exclude={"limit", "cursor"}))
        page = await one.reader(pool, wanted, Position(asked.cursor, asked.limit))
        return page_answer(page)

    answer.__doc__ = one.filter.__doc__
    return answer


def page_answer(page: Page) -> web.Response:
    """*page* as JSON."""
    return json_answer({"data": page.rows, "next": page.next, "prev": page.prev})
