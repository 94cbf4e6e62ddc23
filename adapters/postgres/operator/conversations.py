"""Conversations as an operator looks for them: by their names, people, messages, and what they wait for. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from adapters.postgres.pool import Pool, Record

MOST: Final = 1000
"""Rows of one kind that a list looks through, at most: messages that wait, files, namesakes."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StoredConversation:
    """A row of the table; its columns say what is what. *context*: the JSON document of its dialog. *newest_at*: when
    the person has written last; where they have not, when the conversation came to be known."""

    id: int
    chat: str
    system: str
    subject: str | None
    chatwoot_account_id: int | None
    chatwoot_conversation_id: int | None
    inbox_id: int | None
    channel: str | None
    line: str | None
    phone: str | None
    contact_ref: str | None
    name: str | None
    language: str | None
    status: str | None
    assigned: bool | None
    agent_at: datetime | None
    labels: Sequence[str] | None
    context: Mapping[str, Any]
    context_version: int
    due_at: datetime | None
    escalated_at: datetime | None
    escalated_why: str | None
    settles_at: datetime | None
    message_count: int
    last_message_at: datetime | None
    created_at: datetime
    updated_at: datetime
    newest_at: datetime


class Wanted(NamedTuple):
    """Which conversations a list has: those of any of these kinds; all where none is asked for. *open*: a question
    waits for its answer. *escalated*: handed to a person. *waiting*: something of ours is under way."""

    open: bool = False
    escalated: bool = False
    waiting: bool = False


class Trace(NamedTuple):
    """Where a message belongs. *chat*: its conversation; None: what is known is its *system* and its *phone*."""

    chat: str | None
    system: str
    phone: str | None


class Page(NamedTuple):
    """At most *limit* conversations, those after the one with this time and id."""

    newest_at: datetime
    id: int
    limit: int


_NEWEST: Final = "COALESCE(last_message_at, created_at)"
_COLUMNS: Final = f"""
id, chat, system, subject, chatwoot_account_id, chatwoot_conversation_id, inbox_id, channel, line, phone, contact_ref,
name, language, status, assigned, agent_at, labels, context_json::text AS context, context_version, due_at,
escalated_at, escalated_why, settles_at, message_count, last_message_at, created_at, updated_at, {_NEWEST} AS newest_at
"""
_ORDER: Final = f"ORDER BY {_NEWEST} DESC, id DESC LIMIT $3"
_AFTER: Final = f"({_NEWEST}, id) < ($1, $2)"
_LIST: Final = f"SELECT {_COLUMNS} FROM conversations WHERE {_AFTER} {{more}} {_ORDER}"  # noqa: S608 - constants only
_ONES: Final = " AND id = ANY ($4::bigint[])"
_OF_KINDS: Final = " AND id = ANY (ARRAY({kinds}))"

_OPEN: Final = "SELECT id FROM conversations WHERE (context_json ->> 'clarifyingField') IS NOT NULL"
_ESCALATED: Final = "SELECT id FROM conversations WHERE escalated_at IS NOT NULL"
_HAS_NOTE: Final = """
n.id = {n}.meeting_note_id AND ((n.chatwoot_conversation_id IS NOT NULL
  AND c.chat = 'chatwoot:' || n.chatwoot_account_id || ':' || n.chatwoot_conversation_id)
  OR (n.chatwoot_conversation_id IS NULL AND c.line = n.line AND c.system = split_part(n.message_key, ':', 1)))
"""
# Each part reads the few rows that wait, by an index of its own.
_WAITING: Final = f"""
SELECT id FROM conversations WHERE settles_at IS NOT NULL
  UNION SELECT c.id FROM (
    SELECT DISTINCT chat FROM buffered_messages WHERE understood_at IS NULL LIMIT {MOST}) b
    JOIN conversations c USING (chat)
  UNION SELECT c.id FROM conversations c WHERE c.line = ANY ($LINES::text[])
  UNION SELECT c.id FROM (
    SELECT meeting_note_id FROM note_attachments WHERE status = 'pending' ORDER BY created_at DESC LIMIT {MOST}) a
    CROSS JOIN meeting_notes n CROSS JOIN conversations c WHERE {_HAS_NOTE.format(n="a")}
  UNION SELECT c.id FROM (
    SELECT meeting_note_id FROM audio_files WHERE transcription_status IN ('pending', 'processing')
    ORDER BY created_at DESC LIMIT {MOST}) f
    CROSS JOIN meeting_notes n CROSS JOIN conversations c WHERE {_HAS_NOTE.format(n="f")}
"""  # noqa: S608 - constants only
_PHONES_WAITED_FOR: Final = """
SELECT DISTINCT phone FROM messages
WHERE status IN ('queued', 'sending', 'uncertain') AND phone IS NOT NULL
  AND (purpose LIKE 'dialog:%' OR purpose LIKE 'notice:%') LIMIT $1
"""

_BY_CHAT: Final = "SELECT id FROM conversations WHERE chat = ANY ($1::text[]) LIMIT $2"
_BY_NUMBER: Final = "SELECT id FROM conversations WHERE id = $1"
_BY_CHATWOOT: Final = f"""
SELECT id FROM conversations WHERE chatwoot_conversation_id = $1 AND ($2::bigint IS NULL OR chatwoot_account_id = $2)
ORDER BY {_NEWEST} DESC, id DESC LIMIT $3
"""  # noqa: S608 - constants only
_BY_LINE: Final = f"""
SELECT found.id FROM unnest($1::text[]) AS given (line) CROSS JOIN LATERAL (
  SELECT id FROM conversations c WHERE c.line = given.line AND ($2::text[] IS NULL OR c.system = ANY ($2))
  ORDER BY {_NEWEST} DESC, id DESC LIMIT $3
) found LIMIT $3
"""  # noqa: S608 - constants only
_BY_NAME: Final = f"""
SELECT id FROM (SELECT id, {_NEWEST} AS newest_at FROM conversations
                WHERE to_tsvector('simple', name) @@ $1::tsquery LIMIT $3) named
ORDER BY newest_at DESC, id DESC LIMIT $2
"""  # noqa: S608 - constants only
_BY_ORDER: Final = "SELECT chat FROM content_orders WHERE id BETWEEN $1 AND $2 AND chat IS NOT NULL LIMIT $3"

_CHAT: Final = """
COALESCE(b.chat, 'chatwoot:' || n.chatwoot_account_id || ':' || n.chatwoot_conversation_id)
"""
_OF_MESSAGES: Final = f"""
SELECT {_CHAT}, m.provider, m.phone FROM messages m
LEFT JOIN LATERAL (
  SELECT chat FROM buffered_messages
  WHERE message_key = m.provider || ':' || m.provider_message_id AND chat <> '' LIMIT 1
) b ON true
LEFT JOIN LATERAL (
  SELECT chatwoot_account_id, chatwoot_conversation_id FROM meeting_notes
  WHERE message_key = m.provider || ':' || m.provider_message_id LIMIT 1
) n ON true
WHERE {{which}} LIMIT $3
"""  # noqa: S608 - constants only
_BY_MESSAGE: Final = _OF_MESSAGES.format(which="m.id BETWEEN $1 AND $2")
_BY_PROVIDER_ID: Final = _OF_MESSAGES.format(which="m.provider = ANY ($1::text[]) AND m.provider_message_id = $2")
_BY_KEY: Final = f"""
SELECT {_CHAT}, split_part(n.message_key, ':', 1), n.line FROM meeting_notes n
LEFT JOIN LATERAL (
  SELECT chat FROM buffered_messages WHERE message_key = n.message_key AND chat <> '' LIMIT 1
) b ON true
WHERE n.message_key = ANY ($1::text[])
UNION ALL SELECT chat, split_part(message_key, ':', 1), NULL FROM buffered_messages
WHERE message_key = ANY ($1::text[]) AND chat <> ''
LIMIT $2
"""  # noqa: S608 - constants only


async def listed(
    pool: Pool, wanted: Wanted, page: Page, ids: Sequence[int] | None, lines: Sequence[str]
) -> list[StoredConversation]:
    """The conversations of *ids* (None: of all) that are *wanted*, those in which something was written last first.
    *lines*: of people for whom a message waits, as `phones_waited_for` gives them."""
    more, arguments = "", list[object](page)
    if ids is not None:
        more += _ONES
        arguments.append(list(ids))
    kinds = [_OPEN] * wanted.open + [_ESCALATED] * wanted.escalated
    if wanted.waiting:
        arguments.append(list(lines))
        kinds.append(_WAITING.replace("$LINES", f"${len(arguments)}"))
    if kinds:
        more += _OF_KINDS.format(kinds=" UNION ".join(kinds))
    return [_stored(row) for row in await pool.fetch(_LIST.format(more=more), *arguments)]


async def phones_waited_for(pool: Pool) -> list[str]:
    """The phones of people to whom a question or a notice of ours has not gone out, at most MOST."""
    return [row[0] for row in await pool.fetch(_PHONES_WAITED_FOR, MOST)]


async def by_chat(pool: Pool, chats: Sequence[str], limit: int) -> list[int]:
    """The conversations with these names."""
    return [row[0] for row in await pool.fetch(_BY_CHAT, chats, limit)]


async def by_number(pool: Pool, number: int) -> list[int]:
    """The conversation with this number of the table."""
    return [row[0] for row in await pool.fetch(_BY_NUMBER, number)]


async def by_chatwoot(pool: Pool, conversation: int, account: int | None, limit: int) -> list[int]:
    """The conversations that Chatwoot numbers so. *account*: None: of any."""
    return [row[0] for row in await pool.fetch(_BY_CHATWOOT, conversation, account, limit)]


async def by_lines(pool: Pool, lines: Sequence[str], systems: Sequence[str] | None, limit: int) -> list[int]:
    """The newest conversations with the people of these phone lines. *systems*: in which; None: in any."""
    return [row[0] for row in await pool.fetch(_BY_LINE, lines, systems, limit)]


async def by_name(pool: Pool, words: Sequence[str], limit: int) -> list[int]:
    """The conversations whose people call themselves by a name that has, for each of *words*
    (`schemas.names.words_of`), a word that begins with it; the newest first, of MOST."""
    query = " & ".join(f"({_forms(word)})" for word in words)
    return [row[0] for row in await pool.fetch(_BY_NAME, query, limit, MOST)]


async def by_content_order(pool: Pool, first: UUID, last: UUID, limit: int) -> list[str]:
    """The chats of the content orders with ids from *first* to *last*."""
    return [row[0] for row in await pool.fetch(_BY_ORDER, first, last, limit)]


async def by_message(pool: Pool, first: UUID, last: UUID, limit: int) -> list[Trace]:
    """Where our messages with ids from *first* to *last* belong."""
    return [Trace(*row) for row in await pool.fetch(_BY_MESSAGE, first, last, limit)]


async def by_provider_id(pool: Pool, providers: Sequence[str], id: str, limit: int) -> list[Trace]:
    """Where the messages belong that one of *providers* calls *id*."""
    return [Trace(*row) for row in await pool.fetch(_BY_PROVIDER_ID, providers, id, limit)]


async def by_key(pool: Pool, keys: Sequence[str], limit: int) -> list[Trace]:
    """Where the messages of people belong that have these names over all systems."""
    return [Trace(*row) for row in await pool.fetch(_BY_KEY, keys, limit)]


def _forms(word: str) -> str:
    """The query for names with *word* as it may stand there: in the locale C a server changes letters of ASCII alone
    to small ones."""
    return " | ".join(f"'{form}':*" for form in dict.fromkeys((word, word.capitalize(), word.upper())))


def _stored(row: Record) -> StoredConversation:
    context = orjson.loads(row["context"])
    told = context if isinstance(context, dict) else {}
    return StoredConversation(**{**dict(row), "context": told})
