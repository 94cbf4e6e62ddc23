"""What was said and done with one person, over all systems: the newest rows of each kind. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from adapters.postgres.pool import Pool


class PersonMessage(NamedTuple):
    """A message to the person, or from them. *at*: when it was sent, else stored. *content*: what it says."""

    id: UUID
    at: datetime
    direction: str
    status: str
    provider: str
    kind: str
    purpose: str
    error: str | None
    error_code: str | None
    event_id: str
    content: dict[str, Any]


class PersonNote(NamedTuple):
    """What the person has written, as it is archived."""

    id: UUID
    at: datetime
    message_type: str
    status: str
    intent: str | None
    event_id: str
    content: str | None


class PersonConversation(NamedTuple):
    """A conversation. *open_question*: the field that its dialog asks for. *labels*: as the CRM has them."""

    id: int
    chat: str
    system: str
    chatwoot_conversation_id: int | None
    status: str | None
    labels: Sequence[str] | None
    labels_at: datetime | None
    open_question: str | None
    escalated_at: datetime | None
    last_message_at: datetime | None
    created_at: datetime


class PersonLetter(NamedTuple):
    """An open dead letter of one of the person's events."""

    number: int
    worker: str
    type: str
    event_id: str
    error_class: str
    error_text: str
    buried_at: datetime


# An index for each phone: a list of several would have all their messages sorted.
_MESSAGES: Final = """
SELECT m.* FROM unnest($1::text[]) AS given (phone) CROSS JOIN LATERAL (
    SELECT id, coalesce(sent_at, created_at) AS at, direction, status, provider, kind, purpose, error, error_code,
        event_id, content::text AS content
    FROM messages WHERE phone = given.phone ORDER BY created_at DESC LIMIT $2
) m ORDER BY m.at DESC LIMIT $2
"""
_NOTES: Final = """
SELECT n.* FROM unnest($1::text[]) AS given (phone) CROSS JOIN LATERAL (
    SELECT id, created_at AS at, message_type, processing_status, intent, event_id, content
    FROM meeting_notes WHERE contact_identifier = given.phone ORDER BY created_at DESC LIMIT $2
) n ORDER BY n.at DESC LIMIT $2
"""
_CONVERSATIONS: Final = """
SELECT c.* FROM unnest($1::text[]) AS given (line) CROSS JOIN LATERAL (
    SELECT id, chat, system, chatwoot_conversation_id, status, labels, labels_at,
        context_json ->> 'clarifyingField' AS open_question, escalated_at, last_message_at, created_at
    FROM conversations WHERE line = given.line ORDER BY last_message_at DESC LIMIT $2
) c ORDER BY c.last_message_at DESC NULLS LAST, c.id LIMIT $2
"""
_LETTERS: Final = """
SELECT id, worker, type, event_id, error_class, error_text, buried_at FROM dead_letters
WHERE subject = ANY($1::text[]) AND state = 'open' ORDER BY id DESC LIMIT $2
"""
# The unique index begins with the provider.
_BY_PROVIDER_ID: Final = """
SELECT m.id FROM unnest($1::text[]) AS given (provider) CROSS JOIN LATERAL (
    SELECT id FROM messages WHERE provider = given.provider AND provider_message_id = $2 LIMIT 1
) m
"""


async def messages(pool: Pool, phones: Sequence[str], limit: int) -> list[PersonMessage]:
    """The newest messages of these phones, the newest first."""
    rows = await pool.fetch(_MESSAGES, phones, limit)
    return [PersonMessage(**{**row, "content": orjson.loads(row["content"])}) for row in rows]


async def notes(pool: Pool, phones: Sequence[str], limit: int) -> list[PersonNote]:
    """What was written from these phones, the newest first."""
    return [PersonNote(*row) for row in await pool.fetch(_NOTES, phones, limit)]


async def conversations(pool: Pool, lines: Sequence[str], limit: int) -> list[PersonConversation]:
    """The conversations of these phone lines, the newest first."""
    return [PersonConversation(*row) for row in await pool.fetch(_CONVERSATIONS, lines, limit)]


async def letters(pool: Pool, keys: Sequence[str], limit: int) -> list[PersonLetter]:
    """The open dead letters of these keys, the newest first."""
    return [PersonLetter(*row) for row in await pool.fetch(_LETTERS, keys, limit)]


async def by_provider_id(pool: Pool, providers: Sequence[str], id: str) -> list[UUID]:
    """The messages that one of *providers* calls so."""
    return [row[0] for row in await pool.fetch(_BY_PROVIDER_ID, providers, id)]
