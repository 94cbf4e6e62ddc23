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


def document(found: Record) -> dict[str, Any]:
    """A replay as JSON, its keys masked."""
    row = row_of(found)
    wanted = orjson.loads(row["filter"])
    keys = None if wanted.get("key") is None else sorted({masking.key(key) for key in wanted["key"]})
    return {**row, "filter": {**wanted, "key": keys}}


_LIST: Final = ListOf("replays", listings.REPLAYS, document)
