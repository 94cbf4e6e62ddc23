"""What people and the daemon have done, the newest first."""

from __future__ import annotations

from typing import Any, Final

import orjson

from adapters.postgres.operator import listings
from adapters.postgres.pool import Pool, Record
from daemon.operator.lists.pages import ListOf, Page, Position, row_of
from daemon.telemetry.redaction import redact
from schemas.api.lists import AuditFilter


async def page(pool: Pool, wanted: AuditFilter, at: Position) -> Page:
    """The page *at*."""
    return await _LIST.read(pool, wanted.model_dump(), at)


def _document(found: Record) -> dict[str, Any]:
    row = row_of(found)
    return {**row, "detail": redact(orjson.loads(row["detail"]))}


_LIST: Final = ListOf("audit_log", listings.AUDIT_LOG, _document)
