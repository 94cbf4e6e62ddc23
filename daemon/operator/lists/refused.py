"""Refused requests, the newest first, without what they said."""

from __future__ import annotations

from typing import Any, Final

from adapters.postgres.operator import listings
from adapters.postgres.pool import Pool, Record
from daemon.operator.lists.pages import ListOf, Page, Position, redacted, row_of
from daemon.telemetry.redaction import redact_text
from schemas.api.lists import RefusedFilter


async def page(pool: Pool, wanted: RefusedFilter, at: Position) -> Page:
    """The page *at*."""
    return await _LIST.read(pool, wanted.model_dump(), at)


def _document(found: Record) -> dict[str, Any]:
    row = row_of(found)
    return {**row, "reason": redact_text(row["reason"]), "path": redacted(row["path"])}


_LIST: Final = ListOf("refused", listings.REFUSED, _document)
