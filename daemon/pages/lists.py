"""The list that every page of rows is: filters in the address, older and newer by keyset, ticks, and four empty texts.

A page describes its list by a ListView and reads it by a function; `show` answers. `selected` tells a verb what was
ticked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar
from urllib.parse import urlencode

import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError

from adapters.postgres.pool import PostgresError, store_is_down
from daemon.operator.faults import Unusable
from daemon.operator.lists import cursors
from daemon.operator.lists.cursors import BadCursor
from daemon.pages.visit import Visit
from daemon.telemetry.failures import fields

MOST_TICKED: Final = 100
CURSOR: Final = "cursor"
IDS: Final = "id"
EVERYTHING: Final = "everything"
KEPT: Final = "filter."
"""How the fields of a selection's filters begin."""

log = structlog.get_logger(__name__)

Kind: TypeAlias = Literal["text", "time", "number", "span", "state", "json", "masked"]


@dataclass(frozen=True, slots=True)
class Column:
    """*name*: the member of a row. *href*: where the cell leads, with members of the row in braces: "/events/{id}".
    *subject*: of a masked value, what is revealed: "contact:{contact}"."""

    name: str
    text: str
    kind: Kind = "text"
    href: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """*name*: as in the CLI and the API. *choices*: its values, where they are few; else it is typed."""

    name: str
    text: str
    choices: Sequence[str] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Verb:
    """What may be done with what is ticked: a POST to *path*, which the route table has."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListView:
    """*path*: of the page. *key*: the member of a row by which it is ticked. *yet*: what will appear here, and what to
    do first, for a list that has nothing yet. *counts*: whether *show* is given a count."""

    title: str
    path: str
    columns: Sequence[Column]
    filters: Sequence[Filter] = ()
    verbs: Sequence[Verb] = ()
    key: str = "id"
    yet: str
    intro: str = ""


class Rows(Protocol):
    """A page of rows, as `daemon.operator.lists` gives it. *next*, *prev*: cursors of the older and newer rows."""

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]: ...

    @property
    def next(self) -> str | None: ...

    @property
    def prev(self) -> str | None: ...


Read: TypeAlias = Callable[[Mapping[str, str], str | None], Awaitable[Rows]]
"""Reads rows by the filters that are given, and by a cursor. Raises: Unusable, whose text the list shows."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What was ticked: *ids*, or, where *everything* is true, all rows that match *filters*."""

    ids: Sequence[str]
    everything: bool
    filters: Mapping[str, str]


async def show(visit: Visit, view: ListView, read: Read, *, count: int | None = None, **more: Any) -> web.Response:
    """The page of *view*. *count*: how many rows match in all, where that is known. *more*: for a template of its own,
    `template=`, that extends list.html."""
    template = more.pop("template", "list.html")
    query = visit.request.query
    known = {one.name for one in view.filters} | {CURSOR}
    if unknown := sorted(set(query) - known):
        return visit.error(400, f"This list has no filter {unknown[0]!r}.")
    given = {one.name: query[one.name] for one in view.filters if query.get(one.name)}
    rows, wrong, status = None, "", 200
    try:
        await cursors.key_of(visit.pool)  # which makes it, where the reading pool may not
        rows = await read(given, query.get(CURSOR) or None)
    except BadCursor:
        return visit.error(400, "This address is of no page of this list: begin at its first one.")
    except Unusable as exc:
        wrong, status = f"{exc}.", 422
    except Exception as exc:
        if not (isinstance(exc, PostgresError | OSError | TimeoutError) and store_is_down(exc)):
            raise
        log.warning("page.list_away", **fields(exc))
        wrong, status = "The rows cannot be read: the database does not answer, or takes too long.", 503
    return visit.page(
        template,
        status=status,
        view=view,
        given=given,
        rows=rows,
        wrong=wrong,
        count=count,
        verbs=[verb for verb in view.verbs if visit.may("POST", verb.path)],
        again=_address(view, given, query.get(CURSOR)),
        older=_address(view, given, rows.next) if rows and rows.next else "",
        newer=_address(view, given, rows.prev) if rows and rows.prev else "",
        kept=KEPT,
        **more,
    )


async def selected(visit: Visit, view: ListView) -> Selection:
    """What the form of a verb has ticked. Raises: web.HTTPException, where it is nothing, or no filter of *view*."""
    form = await visit.form()
    ids = await visit.values(IDS)
    known = {one.name for one in view.filters}
    filters = {name[len(KEPT) :]: value for name, value in form.items() if name.startswith(KEPT) and value}
    everything = bool(form.get(EVERYTHING))
    if set(filters) - known or len(ids) > MOST_TICKED:
        raise web.HTTPBadRequest(text="This is no selection of this list.")
    if not ids and not everything:
        raise web.HTTPUnprocessableEntity(text="Nothing is ticked: go back and tick what is meant.")
    return Selection(ids, everything, filters)


F = TypeVar("F", bound=BaseModel)


def filter_of(model: type[F], given: Mapping[str, str]) -> F:
    """The filters of an address as a list of `daemon.operator.lists` takes them. Raises: Unusable."""
    try:
        return model.model_validate(dict(given))
    except ValidationError as exc:
        names = ", ".join(sorted({str(each["loc"][0]) for each in exc.errors() if each["loc"]}))
        raise Unusable(f"this is no value of the filter {names}: clear it, or mend it") from None


def _address(view: ListView, given: Mapping[str, str], cursor: str | None) -> str:
    query = urlencode({**given, **({CURSOR: cursor} if cursor else {})})
    return f"{view.path}?{query}" if query else view.path
