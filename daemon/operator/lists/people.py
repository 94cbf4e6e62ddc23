"""People, those first who came to be known last."""

from __future__ import annotations

from typing import Any, Final

from adapters.postgres.operator import listings
from adapters.postgres.pool import Pool, Record
from daemon.operator import masking
from daemon.operator.lists.pages import ListOf, Page, Position, row_of
from schemas.api.lists import PeopleFilter


async def page(pool: Pool, wanted: PeopleFilter, at: Position) -> Page:
    """The page *at*."""
    return await _LIST.read(pool, wanted.model_dump(), at)


def _document(found: Record) -> dict[str, Any]:
    row = row_of(found)
    return {
        **row,
        "name": masking.name(row["name"]),
        "email": masking.email(row["email"]),
        "phones": [masking.phone(each) for each in row["phones"]],
    }


_LIST: Final = ListOf("people", listings.PEOPLE, _document)
