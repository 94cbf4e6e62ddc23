"""What a conversation consists of: its messages, their archive, files and texts, its orders, and what waits of it.
Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from adapters.postgres.operator.conversations import StoredConversation
from adapters.postgres.pool import Pool

MOST_LETTERS: Final = 20
MOST_ORDERS: Final = 20
MOST_WAITING: Final = 50
"""Messages that are not understood yet which are told, at most."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StoredMessage:
    """A row of `messages`. *content*: what it says, as JSON. *at*: when it was sent, else stored."""

    id: UUID
    direction: str
    status: str
    provider: str
    account: str
    kind: str
    content: Mapping[str, Any]
    purpose: str
    provider_message_id: str | None
    error: str | None
    error_code: str | None
    not_before: datetime | None
    event_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StoredNote:
    """A row of `meeting_notes`: a message as it is archived."""

    id: UUID
    message_key: str
    content: str | None
    processing_status: str
    error_details: str | None
    gcs_storage_path: str | None
    intent: str | None
    intent_confidence: float | None
    intent_reason: str | None
    event_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StoredFile:
    """A file of an archived message, and its text where it is spoken: *spoken* is how that stands."""

    note_id: UUID
    kind: str
    status: str
    storage_path: str | None
    content_type: str | None
    bytes: int | None
    error: str | None
    spoken: str | None
    spoken_error: str | None
    duration_seconds: int | None
    transcription: str | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StoredWaiting:
    """A message as the understanding has it. *understood_at*: None: it waits."""

    message_key: str
    event_id: str
    at: datetime
    kind: str
    text: str | None
    waits_for_text: bool
    understood_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StoredContentOrder:
    """What a dialog has gathered. *params*: of the person."""

    id: UUID
    params: Mapping[str, Any]
    created_at: datetime
    ready_at: datetime | None
    notice_message_id: UUID | None


class OpenLetter(NamedTuple):
    """An open dead letter of an event of the person. *data*: of the event, as JSON text."""

    number: int
    worker: str
    event_id: str
    type: str
    error_class: str
    error_text: str
    buried_at: datetime
    data: str


_MESSAGE: Final = """
m.id, m.direction, m.status, m.provider, m.account, m.kind, m.content::text AS content, m.purpose,
m.provider_message_id, m.error, m.error_code, m.not_before, m.event_id,
COALESCE(m.sent_at, m.created_at) AS at
"""
# A person's message belongs to the conversation that its archive names; ours to the one that it is for, else it goes to
# the person, wherever they look.
_MESSAGES: Final = f"""
SELECT DISTINCT ON (id) * FROM (
  (SELECT {_MESSAGE} FROM unnest($1::text[]) AS given (phone) CROSS JOIN LATERAL (
    SELECT * FROM messages m WHERE m.phone = given.phone
      AND m.provider = ANY (CASE WHEN m.direction = 'in' THEN $2::text[] ELSE $3::text[] END)
      AND (m.conversation IS NULL OR m.conversation = COALESCE($5::bigint, m.conversation))
      AND NOT EXISTS (
        SELECT FROM meeting_notes n WHERE m.direction = 'in' AND $5::bigint IS NOT NULL
          AND n.message_key = m.provider || ':' || m.provider_message_id
          AND (n.chatwoot_account_id, n.chatwoot_conversation_id) <> ($4::bigint::text, $5::bigint::text))
    ORDER BY m.created_at DESC LIMIT $8
  ) m)
  UNION ALL (SELECT {_MESSAGE} FROM messages m WHERE m.id = ANY ($6::uuid[]))
  UNION ALL (SELECT {_MESSAGE} FROM messages m
    WHERE m.provider = ANY ($2::text[]) AND m.provider_message_id = ANY ($7::text[]) AND m.direction = 'in')
) found
"""  # noqa: S608 - constants only
_NOTE: Final = """
id, message_key, content, processing_status, error_details, gcs_storage_path, intent, intent_confidence,
intent_reason, event_id, created_at
"""
_NOTES_IN_CHATWOOT: Final = f"""
SELECT {_NOTE} FROM meeting_notes
WHERE chatwoot_conversation_id = $1::bigint::text AND chatwoot_account_id = $2::bigint::text
ORDER BY created_at DESC, id LIMIT $3
"""  # noqa: S608 - constants only
_NOTES_OF_PERSON: Final = f"""
SELECT {_NOTE} FROM meeting_notes
WHERE contact_identifier = ANY ($1::text[]) AND starts_with(message_key, $2) AND chatwoot_conversation_id IS NULL
ORDER BY created_at DESC, id LIMIT $3
"""  # noqa: S608 - constants only
_NOTES_OF_MESSAGES: Final = f"SELECT {_NOTE} FROM meeting_notes WHERE message_key = ANY ($1::text[])"  # noqa: S608
_FILES: Final = """
SELECT a.meeting_note_id AS note_id, a.kind, a.status, a.storage_path, a.content_type, a.bytes, a.error,
  f.transcription_status AS spoken, f.transcription_error AS spoken_error, f.duration_seconds, f.transcription
FROM note_attachments a LEFT JOIN audio_files f ON f.note_attachment_id = a.id
WHERE a.meeting_note_id = ANY ($1::uuid[])
UNION ALL SELECT f.meeting_note_id, 'audio', 'stored', f.file_path, NULL, f.original_file_size, NULL,
  f.transcription_status, f.transcription_error, f.duration_seconds, f.transcription
FROM audio_files f WHERE f.meeting_note_id = ANY ($1::uuid[]) AND f.note_attachment_id IS NULL
"""
_BUFFERED: Final = """
message_key, event_id, at, kind, text, waits_for_text, understood_at
"""
_WAITING: Final = f"""
(SELECT {_BUFFERED} FROM buffered_messages WHERE chat = $1 AND understood_at IS NULL ORDER BY place LIMIT $3)
UNION SELECT {_BUFFERED} FROM buffered_messages WHERE message_key = ANY ($2::text[]) AND chat = $1
"""  # noqa: S608 - constants only
_AGENTS: Final = "SELECT at FROM agent_replies WHERE chat = $1 ORDER BY at DESC LIMIT $2"
_ORDERS: Final = """
SELECT id, params_json::text AS params, created_at, ready_at, notice_message_id
FROM content_orders WHERE chat = $1 ORDER BY created_at DESC, id LIMIT $2
"""
_OBJECTS: Final = """
SELECT given.place FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS given (bucket, path, place)
JOIN archive_objects o USING (bucket, path)
"""
_LETTERS: Final = """
SELECT id, worker, event_id, type, error_class, error_text, buried_at, data FROM dead_letters
WHERE subject = ANY ($1::text[]) AND state = 'open' AND type = ANY ($2::text[]) ORDER BY id DESC LIMIT $3
"""


class Whose(NamedTuple):
    """Whose messages. *phones*: the notations of the person's phone. *heard_by*, *sent_by*: the names that messages of
    the person and messages to them have for the way that they went."""

    phones: Sequence[str]
    heard_by: Sequence[str]
    sent_by: Sequence[str]


async def messages(
    pool: Pool, of: StoredConversation, whose: Whose, asked: Sequence[UUID], told: Sequence[str], limit: int
) -> list[StoredMessage]:
    """Messages of a conversation, the *limit* newest of each notation of the phone, and besides, those with the ids
    *asked*, and what people have written that the system calls by one of *told*. In no order."""
    numbers = of.chatwoot_account_id, of.chatwoot_conversation_id
    rows = await pool.fetch(_MESSAGES, *whose, *numbers, list(asked), list(told), limit)
    return [StoredMessage(**{**dict(row), "content": _object(row["content"])}) for row in rows]


async def notes(pool: Pool, of: StoredConversation, phones: Sequence[str], limit: int) -> list[StoredNote]:
    """The *limit* newest archived messages of a conversation."""
    if of.chatwoot_conversation_id is not None:
        rows = await pool.fetch(_NOTES_IN_CHATWOOT, of.chatwoot_conversation_id, of.chatwoot_account_id, limit)
    else:
        people = [*phones, *([of.contact_ref] if of.contact_ref else [])]
        rows = await pool.fetch(_NOTES_OF_PERSON, people, f"{of.system}:", limit)
    return [StoredNote(**dict(row)) for row in rows]


async def notes_of(pool: Pool, keys: Sequence[str]) -> list[StoredNote]:
    """The archived messages with these names over all systems."""
    return [StoredNote(**dict(row)) for row in await pool.fetch(_NOTES_OF_MESSAGES, list(keys))]


async def files(pool: Pool, note_ids: Sequence[UUID]) -> list[StoredFile]:
    """The files of archived messages."""
    return [StoredFile(**dict(row)) for row in await pool.fetch(_FILES, list(note_ids))]


async def waiting(pool: Pool, chat: str, keys: Sequence[str]) -> list[StoredWaiting]:
    """What the understanding of *chat* has in hand, and those of *keys* that it has had."""
    return [StoredWaiting(**dict(row)) for row in await pool.fetch(_WAITING, chat, list(keys), MOST_WAITING)]


async def agent_replies(pool: Pool, chat: str, limit: int) -> list[datetime]:
    """When human agents have written in a conversation: the *limit* newest."""
    return [row[0] for row in await pool.fetch(_AGENTS, chat, limit)]


async def content_orders(pool: Pool, chat: str) -> list[StoredContentOrder]:
    """What was ordered in a conversation, the newest first."""
    rows = await pool.fetch(_ORDERS, chat, MOST_ORDERS)
    return [StoredContentOrder(**{**dict(row), "params": _object(row["params"])}) for row in rows]


async def unmoved(pool: Pool, places: Sequence[tuple[str, str]]) -> set[int]:
    """Which of these (bucket, path) wait here for the object store, as their places in the list."""
    found = await pool.fetch(_OBJECTS, [bucket for bucket, _ in places], [path for _, path in places])
    return {row[0] - 1 for row in found}


async def letters(pool: Pool, keys: Sequence[str], types: Sequence[str]) -> list[OpenLetter]:
    """The newest open dead letters of events of these keys and types."""
    return [OpenLetter(*row) for row in await pool.fetch(_LETTERS, list(keys), list(types), MOST_LETTERS)]


def _object(text: str) -> Mapping[str, Any]:
    told = orjson.loads(text)
    return told if isinstance(told, dict) else {}
