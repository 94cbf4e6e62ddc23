"""A page with a list and a verb of its own, for tests of what such pages are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from daemon.operator.faults import Unusable
from daemon.pages.confirming import ask, confirmed
from daemon.pages.lists import Column, Filter, ListView, Verb, selected, show
from daemon.pages.routes import ROUTES, PageRoute
from daemon.pages.visit import Visit

FRAME: Final = ("/login", "/logout", "/account", "/reveal", "/static/{name}", "/zone")
TABLE: Final = (
    *(
        route
        for route in ROUTES
        if route.path in ("/login", "/logout", "/account", "/reveal", "/static/{name}", "/zone")
    ),
    PageRoute("GET", "/letters", "read", "tests.support.listed_page:letters", "Letters"),
    PageRoute("POST", "/letters/retry", "operate", "tests.support.listed_page:retry"),
)


@dataclass
class Page:
    rows: list[dict[str, Any]] = field(default_factory=list)
    next: str | None = None
    prev: str | None = None


ROWS: Final[dict[str, list[Any]]] = {"pages": [Page()], "asked": [], "done": []}
"""What the page shows, what it was asked for, and what its verb was told to do."""

VIEW: Final = ListView(
    title="Letters",
    path="/letters",
    columns=[
        Column("id", "Id", href="/letters/{id}"),
        Column("at", "When", "time"),
        Column("tries", "Tries", "number"),
        Column("wait", "Wait", "span"),
        Column("state", "State", "state"),
        Column("who", "Who", "masked", subject="contact:{contact}"),
        Column("data", "Data", "json"),
        Column("text", "Text"),
    ],
    filters=[Filter("worker", "Worker", ["journal", "crm-labels"]), Filter("class", "Error")],
    verbs=[Verb("/letters/retry", "Retry")],
    yet="Letters that no worker could handle will stand here.",
)


def row(id: int, **values: Any) -> dict[str, Any]:
    made = {"id": id, "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "tries": 12_345, "wait": 90_000.0}
    return {**made, "state": "dead", "who": "+972…42", "contact": "c1", "data": '{"n": 1}', "text": "x", **values}


async def letters(visit: Visit) -> web.Response:
    async def read(given: Mapping[str, str], cursor: str | None) -> Page:
        ROWS["asked"].append((dict(given), cursor))
        found = ROWS["pages"][0]
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, Page)
        return found

    return await show(visit, VIEW, read, count=1234)


async def retry(visit: Visit) -> web.Response:
    chosen = await selected(visit, VIEW)
    yes = await confirmed(visit)
    if yes is None:
        count = 1234 if chosen.everything else len(chosen.ids)
        skipped = [{"reason": "<erased>", "count": 2}]
        typed = bool((await visit.form()).get("careful"))
        return await ask(visit, "retry letters", count=count, upto=99, skipped=skipped, back="/letters", typed=typed)
    if not yes.count:
        raise Unusable("nothing")
    ROWS["done"].append((chosen, yes))
    return visit.see("/letters", f"{yes.count:,} retried.")
