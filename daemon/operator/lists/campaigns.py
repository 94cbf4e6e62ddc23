"""Campaigns, the newest first."""

from __future__ import annotations

from typing import Any, Final

from adapters.postgres.operator import listings
from adapters.postgres.pool import Pool, Record
from daemon.operator.lists.pages import ListOf, Page, Position, redacted, row_of
from schemas.api.lists import CampaignFilter


async def page(pool: Pool, wanted: CampaignFilter, at: Position) -> Page:
    """The page *at*."""
    return await _LIST.read(pool, wanted.model_dump(), at)


def _document(found: Record) -> dict[str, Any]:
    row = row_of(found)
    return {**row, "reason": redacted(row["reason"])}


_LIST: Final = ListOf("campaigns", listings.CAMPAIGNS, _document)
