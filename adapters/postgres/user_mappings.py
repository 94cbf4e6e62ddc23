"""`whatsapp_user_mapping` and `user_bucket_mapping` as people read and write them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection, Pool

_ADD: Final = """
INSERT INTO whatsapp_user_mapping (user_id, whatsapp_number, chatwoot_contact_id, chatwoot_account_id, is_verified)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING id
"""
_SAME: Final = """
SELECT id, user_id FROM whatsapp_user_mapping
WHERE (user_id, whatsapp_number) = ($1, $2) OR (chatwoot_contact_id, chatwoot_account_id) = ($3, $4)
ORDER BY id
"""
_CHANGE: Final = """
UPDATE whatsapp_user_mapping SET whatsapp_number = COALESCE($2, whatsapp_number),
  chatwoot_contact_id = COALESCE($3, chatwoot_contact_id), chatwoot_account_id = COALESCE($4, chatwoot_account_id),
  is_verified = is_verified OR $5
WHERE id = $1
"""
_ROWS: Final = """
SELECT m.id, m.user_id, m.whatsapp_number, m.chatwoot_contact_id, m.chatwoot_account_id, m.is_verified,
  b.bucket_name, COALESCE(b.notify_on_ready, false) AS notify_on_ready, m.created_at
FROM whatsapp_user_mapping AS m LEFT JOIN user_bucket_mapping AS b USING (user_id)
"""
_LIST: Final = f"{_ROWS} WHERE ($1::text IS NULL OR m.user_id = $1) AND m.id > $2 ORDER BY m.id LIMIT $3"
_ONE: Final = f"{_ROWS} WHERE m.id = $1"
_REMOVE: Final = "DELETE FROM whatsapp_user_mapping WHERE id = $1 RETURNING id"
_KNOWN: Final = """
SELECT EXISTS (SELECT FROM whatsapp_user_mapping WHERE user_id = $1)
    OR EXISTS (SELECT FROM user_bucket_mapping WHERE user_id = $1)
"""
_NOTIFY: Final = """
INSERT INTO user_bucket_mapping (user_id, bucket_name, notify_on_ready) VALUES ($1, $2, $3)
ON CONFLICT (user_id) DO UPDATE SET notify_on_ready = excluded.notify_on_ready, updated_at = now()
"""


class New(NamedTuple):
    """A mapping that is to be. *number*: E.164. *contact*, *account*: Chatwoot's."""

    user: str
    number: str | None
    contact: str | None
    account: str | None
    verified: bool


class Row(NamedTuple):
    """A mapping as people see it."""

    id: int
    user_id: str
    whatsapp_number: str | None
    chatwoot_contact_id: str | None
    chatwoot_account_id: str | None
    is_verified: bool
    bucket_name: str | None
    notify_on_ready: bool
    created_at: datetime


class Same(NamedTuple):
    """A mapping that names the same contact, or the same number of the same user."""

    id: int
    user: str


async def add(conn: Connection, new: New) -> int | None:
    """The id of the mapping; None where one of its kind is there."""
    found: int | None = await conn.fetchval(_ADD, *new)
    return found


async def same(conn: Connection, new: New) -> list[Same]:
    """The mappings that are in the way of *new*."""
    return [Same(*row) for row in await conn.fetch(_SAME, *new[:4])]


async def change(conn: Connection, id: int, new: New) -> None:
    """Let a mapping say what *new* says besides."""
    await conn.execute(_CHANGE, id, *new[1:])


async def listed(pool: Pool, user: str | None, after: int, most: int) -> Sequence[Row]:
    """Mappings in the order of their ids: those of *user*, or of everybody."""
    return [Row(*row) for row in await pool.fetch(_LIST, user, after, most)]


async def one(conn: Connection | Pool, id: int) -> Row | None:
    """One mapping."""
    row = await conn.fetchrow(_ONE, id)
    return None if row is None else Row(*row)


async def remove(conn: Connection, id: int) -> bool:
    """Delete one. Returns whether there was one."""
    return await conn.fetchval(_REMOVE, id) is not None


async def knows(conn: Connection | Pool, user: str) -> bool:
    """Whether there is anything about *user*."""
    return bool(await conn.fetchval(_KNOWN, user))


async def notify(conn: Connection, user: str, bucket: str, on: bool) -> None:
    """Whether *user* is told that something is ready. *bucket*: the user's, where none is known yet."""
    await conn.execute(_NOTIFY, user, bucket, on)
