"""Messages as an operator looks at them. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from adapters.postgres.pool import Pool, Record
from schemas.api.queries import MessageQuery

_COLUMNS: Final = """
id, direction, status, provider, account, phone, kind, content::text, purpose, provider_message_id, error,
error_code, attempts, not_before, created_at, claimed_at, sent_at, delivered_at, read_at, failed_at, updated_at,
evidence::text, route, moves::text
"""
_ONE: Final = f"SELECT {_COLUMNS} FROM messages WHERE id = $1"  # noqa: S608 - constants only
_UPDATES: Final = """
SELECT status, at, error_code, error FROM delivery_updates WHERE message_id = $1 ORDER BY at, id LIMIT 100
"""
_UNCERTAIN: Final = f"""
SELECT {_COLUMNS} FROM messages WHERE status = 'uncertain' ORDER BY created_at, id LIMIT $1
"""  # noqa: S608 - constants only
_BETWEEN: Final = "SELECT id FROM messages WHERE id BETWEEN $1 AND $2 ORDER BY id LIMIT $3"
_EVENT_ID: Final = "SELECT event_id FROM messages WHERE id = $1"
_LIST: Final = f"""
SELECT {_COLUMNS} FROM messages
WHERE (created_at, id) < ($1, $2) AND ($3::text[] IS NULL OR phone = ANY ($3)) AND ($4::text IS NULL OR status = $4)
  AND ($5::text IS NULL OR provider = $5) AND ($6::text IS NULL OR direction = $6)
  AND ($7::text IS NULL OR purpose = $7) AND ($8::timestamptz IS NULL OR created_at >= $8)
  AND ($9::timestamptz IS NULL OR created_at < $9)
ORDER BY created_at DESC, id DESC LIMIT $10
"""  # noqa: S608 - constants only


async def find(pool: Pool, id: UUID) -> dict[str, Any] | None:
    """The message with its timeline of statuses (`updates`)."""
    row = await pool.fetchrow(_ONE, id)
    if row is None:
        return None
    return _document(row) | {"updates": [dict(update) for update in await pool.fetch(_UPDATES, id)]}


async def between(pool: Pool, first: UUID, last: UUID, limit: int) -> list[UUID]:
    """The ids of messages from *first* to *last*."""
    return [row["id"] for row in await pool.fetch(_BETWEEN, first, last, limit)]


async def event_id(pool: Pool, id: UUID) -> str | None:
    """The id of the event that brings the message to its worker; None: it is an inbound one, or there is none."""
    found: str | None = await pool.fetchval(_EVENT_ID, id)
    return found


async def uncertain(pool: Pool, limit: int) -> list[dict[str, Any]]:
    """Messages that may have been sent, the oldest first."""
    return [_document(row) for row in await pool.fetch(_UNCERTAIN, limit)]


async def listed(
    pool: Pool, before: tuple[datetime, UUID], phones: Sequence[str] | None, which: MessageQuery
) -> list[dict[str, Any]]:
    """Messages that were made before *before*, newest first. *phones*: the notations of `to`."""
    more = (which.status, which.provider, which.direction, which.purpose, which.since, which.until, which.limit)
    return [_document(row) for row in await pool.fetch(_LIST, *before, phones, *more)]


def _document(row: Record) -> dict[str, Any]:
    evidence = None if row["evidence"] is None else orjson.loads(row["evidence"])
    told = {"content": orjson.loads(row["content"]), "evidence": evidence}
    told |= {"route": row["route"] or [], "moves": orjson.loads(row["moves"] or "[]")}
    return {**dict(row), "id": str(row["id"]), **told}
