"""Messages of either direction, the newest first; and those of them that may have been sent."""

from __future__ import annotations

from typing import Any, Final

import orjson

from adapters.postgres.operator import listings
from adapters.postgres.pool import Pool, Record
from daemon.operator import masking
from daemon.operator.lists.pages import ListOf, Page, Position, redacted, row_of
from schemas.api.lists import MessageFilter, UncertainFilter


async def page(pool: Pool, wanted: MessageFilter, at: Position) -> Page:
    """The page *at*."""
    return await _LIST.read(pool, wanted.model_dump(), at)


async def uncertain(pool: Pool, wanted: UncertainFilter, at: Position) -> Page:
    """The page *at* of messages that may have been sent."""
    return await _UNCERTAIN.read(pool, wanted.model_dump(), at)


def _document(found: Record) -> dict[str, Any]:
    row = row_of(found)
    evidence = None if row["evidence"] is None else orjson.loads(row["evidence"])
    if evidence is not None and isinstance(evidence.get("text"), str):
        evidence |= {"text": redacted(evidence["text"])}
    return {
        **row,
        "phone": masking.phone(row["phone"]),
        "content": masking.raw(orjson.loads(row["content"])),
        "error": redacted(row["error"]),
        "evidence": evidence,
    }


_LIST: Final = ListOf("messages", listings.MESSAGES, _document)
_UNCERTAIN: Final = ListOf("uncertain", listings.UNCERTAIN, _document)
