"""Lists of `daemon.operator.lists` as the pages show them: their filters by the same models as the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from aiohttp import web
from pydantic import BaseModel, ValidationError

from adapters.postgres.pool import Pool
from daemon.operator.faults import NotThere, Unusable
from daemon.operator.lists import cursors
from daemon.operator.lists.cursors import BadCursor
from daemon.operator.lists.pages import Page, Position
from daemon.pages.lists import Read
from daemon.pages.visit import Visit

Reader: TypeAlias = Callable[[Pool, Any, Position], Awaitable[Page]]

LARGEST: int = 2**63 - 1
"""Of the numbers that rows have."""


def asked(model: type[BaseModel], given: Mapping[str, str]) -> Any:
    """The filter that *given* is. Raises: Unusable."""
    try:
        return model.model_validate(dict(given))
    except ValidationError as exc:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in exc.errors())
        raise Unusable(f"this filter cannot be used: {wrong}") from None


def reading(visit: Visit, reader: Reader, model: type[BaseModel]) -> Read:
    """What `show` reads the list of *reader* by."""

    async def read(given: Mapping[str, str], cursor: str | None) -> Page:
        wanted = asked(model, given)
        await cursors.key_of(visit.pool)  # makes it where there is none: the pages' own connections only read
        try:
            return await reader(visit.read, wanted, Position(cursor))
        except BadCursor:
            raise web.HTTPBadRequest(text="This is no page of this list: begin at its first one.") from None

    return read


def number_in(visit: Visit, what: str) -> int:
    """The number in the address. Raises: NotThere."""
    text = visit.request.match_info["id"]
    if not (text.isascii() and text.isdigit() and int(text) <= LARGEST):
        raise NotThere(f"there is no such {what}")
    return int(text)


def told(done: str, skipped: list[dict[str, Any]]) -> str:
    """What a verb says in the end: *done*, and what it left alone and why."""
    left = "; ".join(f"{one['count']:,}: {one['reason']}" for one in skipped)
    return f"{done} Left alone: {left}." if left else done
