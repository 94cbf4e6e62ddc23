"""Dead letters, the newest first, without the data of their events."""

from __future__ import annotations

from typing import Any, Final

from adapters.postgres.operator import listings
from adapters.postgres.pool import Pool, Record
from daemon.operator import masking
from daemon.operator.lists.pages import ListOf, Page, Position, redacted, row_of
from schemas.api.lists import LetterFilter


async def page(pool: Pool, wanted: LetterFilter, at: Position) -> Page:
    """The page *at*."""
    return await _LIST.read(pool, wanted.model_dump(), at)


def _document(found: Record) -> dict[str, Any]:
    row = row_of(found)
    return {
        **row,
        "key": masking.key(row["key"]),
        "error_text": redacted(row["error_text"]),
        "replay_id": row["replay_id"] or None,
    }


_LIST: Final = ListOf("dead_letters", listings.DEAD_LETTERS, _document)
