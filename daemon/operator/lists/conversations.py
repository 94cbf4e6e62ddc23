"""Conversations, those first in which a person has written last."""

from __future__ import annotations

from typing import Any, Final

from adapters.postgres.operator import listings
from adapters.postgres.pool import Pool, Record
from daemon.operator import masking
from daemon.operator.lists.pages import ListOf, Page, Position, redacted, row_of
from schemas.api.lists import ConversationFilter


async def page(pool: Pool, wanted: ConversationFilter, at: Position) -> Page:
    """The page *at*."""
    asked = {"status": wanted.status, "escalated": wanted.escalated or None}
    return await _LIST.read(pool, asked | {"not_escalated": True if wanted.escalated is False else None}, at)


def _document(found: Record) -> dict[str, Any]:
    row = row_of(found)
    return {
        **row,
        "name": masking.name(row["name"]),
        "phone": masking.phone(row["phone"]),
        "escalated_why": redacted(row["escalated_why"]),
    }


_LIST: Final = ListOf("conversations", listings.CONVERSATIONS, _document)
