"""Orders, the newest first."""

from __future__ import annotations

from typing import Any, Final

from adapters.postgres.operator import listings
from adapters.postgres.pool import Pool, Record
from daemon.operator import masking
from daemon.operator.lists.pages import ListOf, Page, Position, redacted, row_of
from schemas.api.lists import OrderFilter


async def page(pool: Pool, wanted: OrderFilter, at: Position) -> Page:
    """The page *at*."""
    return await _LIST.read(pool, wanted.model_dump(), at)


def _document(found: Record) -> dict[str, Any]:
    row = row_of(found)
    return {
        **row,
        "name": masking.name(row["name"]),
        "phone": masking.phone(row["phone"]),
        "reason": redacted(row["reason"]),
    }


_LIST: Final = ListOf("orders", listings.ORDERS, _document)
