"""The recipients of one campaign, in the order of its file."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from adapters.postgres.operator import listings
from adapters.postgres.pool import Pool, Record
from daemon.operator import masking
from daemon.operator.lists.pages import ListOf, Page, Position, redacted, row_of
from schemas.api.lists import RecipientFilter


async def page(pool: Pool, campaign: UUID, wanted: RecipientFilter, at: Position) -> Page:
    """The page *at* of those of *campaign*."""
    return await _LIST.read(pool, {"campaign": campaign, **wanted.model_dump()}, at)


def _document(found: Record) -> dict[str, Any]:
    row = row_of(found)
    return {
        **row,
        "phone": masking.phone(row["phone"]),
        "name": masking.name(row["name"]),
        "error": redacted(row["error"]),
    }


_LIST: Final = ListOf("recipients", listings.RECIPIENTS, _document)
