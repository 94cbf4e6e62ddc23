"""Messages that may have been sent, as their providers are asked for them: which are due, and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from adapters.postgres.json_text import json_text
from adapters.postgres.pool import Connection, Pool, Record

FIRST_LOOK: Final = timedelta(seconds=30)
"""After the call: the answer may be late, and so may the provider's list."""

LONGEST: Final = timedelta(days=1)
"""Between two looks, each four times as long after the last one as the one before."""

GIVEN_UP: Final = timedelta(days=14)

LEFT: Final = timedelta(minutes=15)
"""A message that is `sending` for so long was left there by a process that has died."""

# Of several processes one takes each.
_DUE: Final = """
WITH due AS MATERIALIZED (
  SELECT id FROM messages
  WHERE status IN ('uncertain', 'sending') AND direction = 'out' AND provider = ANY ($1::text[])
    AND (status = 'uncertain' OR claimed_at < now() - $3::interval)
    AND claimed_at > now() - $4::interval
    AND COALESCE(looked_at, claimed_at) < now() - LEAST($5::interval * power(4, LEAST(looks, 10)), $6::interval)
  ORDER BY looked_at NULLS FIRST, claimed_at LIMIT $2 FOR UPDATE SKIP LOCKED)
UPDATE messages m SET looks = looks + 1, looked_at = now() FROM due WHERE m.id = due.id
RETURNING m.id, m.provider, m.account, m.phone, m.kind, m.content::text, m.claimed_at, m.conversation
"""
_FOUND_BY: Final = """
SELECT provider_message_id FROM messages
WHERE provider = $1 AND provider_message_id = ANY ($2::text[]) AND id <> $3
"""
_KEEP: Final = "UPDATE messages SET evidence = $2::jsonb WHERE id = $1"


@dataclass(frozen=True, slots=True, repr=False)
class Doubted:
    """A message whose call began *at*, and whose end nobody knows. *conversation*: as of its `Request`."""

    id: UUID
    provider: str
    account: str
    phone: str
    kind: str
    content: Any
    at: datetime
    conversation: int | None = None


async def due(pool: Pool, providers: Sequence[str], limit: int) -> list[Doubted]:
    """The messages that their providers are to be asked for now. Those that are returned are due again later."""
    bounds = LEFT, GIVEN_UP, FIRST_LOOK, LONGEST
    rows = await pool.fetch(_DUE, providers, limit, *bounds)
    return [_doubted(row) for row in rows]


def _doubted(row: Record) -> Doubted:
    names = ("id", "provider", "account", "phone", "kind")
    return Doubted(**{name: row[name] for name in names}, content=orjson.loads(row["content"]), at=row["claimed_at"])


async def of_others(conn: Connection | Pool, provider: str, provider_ids: Sequence[str], id: UUID) -> set[str]:
    """Those of *provider_ids* that are of other messages of ours than *id*."""
    return {row[0] for row in await conn.fetch(_FOUND_BY, provider, provider_ids, id)}


async def keep(conn: Connection | Pool, id: UUID, found: bool | None, text: str, at: datetime) -> None:
    """Keep what the last look has found: *found* None: it did not tell."""
    await conn.execute(_KEEP, id, json_text({"at": at.isoformat(), "found": found, "text": text}))
