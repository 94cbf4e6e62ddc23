"""Replays, the newest first."""

from __future__ import annotations

from typing import Any, Final

import orjson

from adapters.postgres.operator import listings
from adapters.postgres.pool import Pool, Record
from daemon.operator import masking
from daemon.operator.lists.pages import ListOf, Page, Position, row_of
from schemas.api.lists import ReplayFilter


async def page(pool: Pool, wanted: ReplayFilter, at: Position) -> Page:
    """The page *at*."""
    return await _LIST.read(pool, wanted.model_dump(), at)


def _document(found: Record) -> dict[str, Any]:
    row = row_of(found)
    return {**row, "filter": masking.raw(orjson.loads(row["filter"]))}


_LIST: Final = ListOf("replays", listings.REPLAYS, _document)
