"""Messages as parts of a chat: those that a reaction, or a mark that they were read, may be about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple
from uuid import UUID

from adapters.postgres.pool import Pool

_COLUMNS: Final = """
id, direction, status, provider, account, phone, kind, provider_message_id, our_number, COALESCE(sent_at, created_at),
read_at
"""
_ONE: Final = f"SELECT {_COLUMNS} FROM messages WHERE id = $1"  # noqa: S608 - constants only
_NAMED: Final = f"""
SELECT {_COLUMNS} FROM messages WHERE provider = ANY ($1::text[]) AND provider_message_id = $2 ORDER BY created_at DESC
"""  # noqa: S608 - constants only
_READ: Final = """
UPDATE messages SET read_at = COALESCE(read_at, $2), updated_at = now() WHERE id = $1 AND direction = 'in'
RETURNING read_at
"""


class ChatMessage(NamedTuple):
    """A message of either direction. *provider_id*: the provider's id of it, where it is known. *our_number*: the
    provider's id of our number that an inbound one came to, where it tells. *at*: when it was sent, else stored.
    *read_at*: of an inbound one: when it was marked as read."""

    id: UUID
    direction: Literal["in", "out"]
    status: str
    provider: str
    account: str
    phone: str | None
    kind: str
    provider_id: str | None
    our_number: str | None
    at: datetime
    read_at: datetime | None


async def find(pool: Pool, id: UUID) -> ChatMessage | None:
    """The message with this id of ours."""
    row = await pool.fetchrow(_ONE, id)
    return None if row is None else ChatMessage(*row)


async def named(pool: Pool, providers: Sequence[str], provider_id: str) -> list[ChatMessage]:
    """The messages that one of *providers* calls *provider_id*."""
    return [ChatMessage(*row) for row in await pool.fetch(_NAMED, providers, provider_id)]


async def note_read(pool: Pool, id: UUID, at: datetime) -> datetime:
    """An inbound message was marked as read; returns when that was done first."""
    first: datetime = await pool.fetchval(_READ, id, at)
    return first
