"""Orders of content: what dialogs have gathered, and whether it is ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from adapters.postgres.json_text import json_text
from adapters.postgres.pool import Connection, Pool
from adapters.postgres.users import digits_of

_KEEP: Final = """
INSERT INTO content_orders (id, params_json, chat, chatwoot_conversation_id, phone, provider, event_id, message_key,
  user_id)
VALUES ($1, $2::jsonb, $3, $4, $5, $6, $7, $8, COALESCE(
  (SELECT user_id FROM meeting_notes WHERE message_key = $8),
  (SELECT user_id FROM whatsapp_user_mapping
   WHERE (chatwoot_contact_id = $9 AND chatwoot_account_id = $10) OR digits = ANY ($11::text[])
   ORDER BY (chatwoot_contact_id = $9 AND chatwoot_account_id = $10) DESC NULLS LAST, is_verified DESC, id LIMIT 1)))
ON CONFLICT (id) DO NOTHING RETURNING user_id
"""
_SHOW: Final = """
SELECT id, user_id, source, triggered_by, params_json::text, chat, chatwoot_conversation_id, phone, provider, ready_at,
       notice_message_id, notice_why, created_at
FROM content_orders WHERE id = $1
"""
_LOCK: Final = f"{_SHOW.rstrip()} FOR UPDATE"
_ASSIGN: Final = """
UPDATE content_orders o SET user_id = n.user_id FROM meeting_notes n
WHERE o.id = $1 AND o.user_id IS NULL AND n.message_key = o.message_key
"""
_READY: Final = """
UPDATE content_orders SET ready_at = now(), notice_message_id = $2, notice_why = $3, updated_at = now() WHERE id = $1
RETURNING ready_at
"""
_WANTS: Final = "SELECT notify_on_ready FROM user_bucket_mapping WHERE user_id = $1"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ContentOrder:
    """What a dialog has gathered. Whose it is, tells the note of the message that began it, *message_key*; else a
    mapping of Chatwoot's *contact_id* and *account_id*, or of one of *phones*, E.164 as the phone may be written."""

    id: UUID
    params: Mapping[str, Any]
    chat: str
    chatwoot_conversation_id: int | None
    phone: str | None
    provider: str | None
    event_id: str
    message_key: str | None
    contact_id: str | None
    account_id: str | None
    phones: tuple[str, ...]


class Kept(NamedTuple):
    """That an order was kept, now for the first time. *user_id*: whose it is; None: no mapping is known."""

    user_id: str | None


async def keep(conn: Connection, order: ContentOrder) -> Kept | None:
    """Keep an order; None: it was kept before."""
    o = order
    row = await conn.fetchrow(
        _KEEP,
        o.id,
        json_text(dict(o.params)),
        o.chat,
        o.chatwoot_conversation_id,
        o.phone,
        o.provider,
        o.event_id,
        o.message_key,
        o.contact_id,
        o.account_id,
        digits_of(o.phones),
    )
    return None if row is None else Kept(row["user_id"])


async def find(pool: Pool, id: UUID) -> dict[str, Any] | None:
    """An order as a JSON object."""
    return _shown(await pool.fetchrow(_SHOW, id))


async def locked(conn: Connection, id: UUID) -> dict[str, Any] | None:
    """The same, for this transaction alone to change."""
    return _shown(await conn.fetchrow(_LOCK, id))


async def assign(conn: Connection, id: UUID) -> None:
    """Give an order the user whom the note of its message has by now."""
    await conn.execute(_ASSIGN, id)


async def make_ready(conn: Connection, id: UUID, notice: UUID | None, why_not: str | None) -> datetime:
    """An order is ready. *notice*: the message that tells of it; *why_not*: why none does."""
    at: datetime = await conn.fetchval(_READY, id, notice, why_not)
    return at


async def wants_notice(conn: Connection, user_id: str) -> bool:
    """Whether the user, or `account_NUMBER`, wants to be told that an order is ready."""
    return bool(await conn.fetchval(_WANTS, user_id))


def _shown(row: Any) -> dict[str, Any] | None:
    if row is None:
        return None
    plain = {name: UUID(str(value)) if isinstance(value, UUID) else value for name, value in row.items()}
    return {**plain, "params_json": orjson.loads(row["params_json"])}
