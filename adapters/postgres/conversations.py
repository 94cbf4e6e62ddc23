"""Conversations: who they are with, how their dialog stands, and when the clock is to look at them.

The context of a dialog changes by a compare of its version: of two that decide by the same one, the second changes
nothing, and what it was to bring about is not brought about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from adapters.postgres.buffered_messages import Buffered, buffered_of
from adapters.postgres.json_text import json_text
from adapters.postgres.pool import Connection, Pool, Record
from schemas.conversations import Chat

_STANDING: Final = """
SELECT given.place, c.*, b.waiting, k.known, m.id AS answers
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY
  AS given (asked, message_key, provider, reply_to, place)
LEFT JOIN LATERAL (SELECT * FROM conversations WHERE chat = given.asked LIMIT 1) c ON true
LEFT JOIN LATERAL (
  SELECT jsonb_agg(to_jsonb(o) ORDER BY o.place, o.at, o.id) AS waiting FROM buffered_messages o
  WHERE o.chat = given.asked AND o.understood_at IS NULL
) b ON true
LEFT JOIN LATERAL (
  SELECT true AS known FROM buffered_messages WHERE message_key = given.message_key AND chat <> '' LIMIT 1
) k ON true
LEFT JOIN LATERAL (
  SELECT id FROM messages
  WHERE provider = given.provider AND provider_message_id = given.reply_to AND direction = 'out' LIMIT 1
) m ON true
ORDER BY given.place
"""
_OF_LINE: Final = """
SELECT chat FROM conversations WHERE line = $1 ORDER BY last_message_at DESC NULLS LAST, id DESC LIMIT 1
"""
_LANGUAGE: Final = """
SELECT c.language FROM contact_identities i JOIN contacts c ON c.id = i.contact_id
WHERE i.kind = 'phone' AND i.value = ANY ($1::text[]) AND c.language IS NOT NULL LIMIT 1
"""

# what is told once stays where it is not told again; only what is new of the person adds to their messages
_SEE: Final = """
INSERT INTO conversations AS c (chat, system, subject, chatwoot_account_id, chatwoot_conversation_id, inbox_id, channel,
  line, phone, contact_ref, name, message_count, last_message_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (chat) DO UPDATE SET
  subject = excluded.subject,
  inbox_id = COALESCE(excluded.inbox_id, c.inbox_id), channel = COALESCE(excluded.channel, c.channel),
  line = COALESCE(excluded.line, c.line), phone = COALESCE(excluded.phone, c.phone),
  contact_ref = COALESCE(excluded.contact_ref, c.contact_ref), name = COALESCE(excluded.name, c.name),
  message_count = c.message_count + excluded.message_count,
  last_message_at = GREATEST(c.last_message_at, excluded.last_message_at), updated_at = now()
"""
_TURN: Final = """
UPDATE conversations SET context_json = $3::jsonb, context_version = context_version + 1, due_at = $4,
  language = COALESCE($5, language), escalated_at = CASE WHEN $6::text IS NULL THEN escalated_at ELSE $7 END,
  escalated_why = COALESCE($6, escalated_why), updated_at = now()
WHERE chat = $1 AND context_version = $2 RETURNING chat
"""
_LOCK: Final = "SELECT id FROM conversations WHERE chat = ANY ($1::text[]) ORDER BY chat FOR UPDATE"
_LOOK_AGAIN: Final = "UPDATE conversations SET settles_at = LEAST(settles_at, $2) WHERE chat = $1"
_SETTLE: Final = "UPDATE conversations SET settles_at = $2 WHERE chat = $1"
_DUE: Final = "UPDATE conversations SET due_at = $2 WHERE chat = $1"
_TAKE: Final = """
WITH due AS MATERIALIZED (
  SELECT id FROM conversations WHERE {at} <= $1 AND subject IS NOT NULL
  ORDER BY {at} LIMIT $2 FOR UPDATE SKIP LOCKED)
UPDATE conversations SET {at} = NULL WHERE id = ANY (ARRAY(SELECT id FROM due))
RETURNING chat, subject, context_version
"""


class Asked(NamedTuple):
    """A question about a conversation, and about one message of it. *provider*, *reply_to*: whose message is replied
    to, and that provider's id of it; "" where none is."""

    chat: str
    message_key: str = ""
    provider: str = ""
    reply_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Standing:
    """How a conversation stands; *there* false: there is none yet. *context*: the JSON document of its dialog, in its
    *version*. *agent_at*: when a human agent has written last. *waiting*: messages that are not understood yet, in
    their order. *known*: whether the message that was asked about has come before. *answers*: our message that it
    replies to."""

    there: bool = False
    system: str = ""
    subject: str | None = None
    chatwoot_account_id: int | None = None
    chatwoot_conversation_id: int | None = None
    inbox_id: int | None = None
    channel: str | None = None
    phone: str | None = None
    contact_ref: str | None = None
    name: str | None = None
    language: str | None = None
    status: str | None = None
    agent_at: datetime | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0
    due_at: datetime | None = None
    escalated_at: datetime | None = None
    settles_at: datetime | None = None
    waiting: Sequence[Buffered] = ()
    known: bool = False
    answers: UUID | None = None


_COPIED: Final = (
    "system",
    "subject",
    "chatwoot_account_id",
    "chatwoot_conversation_id",
    "inbox_id",
    "channel",
    "phone",
    "contact_ref",
    "name",
    "language",
    "status",
    "agent_at",
    "due_at",
    "escalated_at",
    "settles_at",
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Seen:
    """A person's conversation, as a message or a change tells of it. *wrote_at*: when the person has written; None:
    they have not."""

    chat: Chat
    subject: str
    channel: str | None
    line: str | None
    phone: str | None
    contact_ref: str | None
    name: str | None
    wrote_at: datetime | None = None


class Clock(NamedTuple):
    """When the clock is to look at a conversation. *what*: "settles_at" or "due_at"."""

    chat: str
    what: str
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Context:
    """The next context of a dialog, decided by the one of *version*. *escalated_why*: it was handed to a person, at
    *at*."""

    chat: str
    version: int
    document: Mapping[str, Any]
    due_at: datetime | None
    language: str | None
    escalated_why: str | None
    at: datetime


class Due(NamedTuple):
    """A conversation whose time has come. *subject*: the key of its events. *version*: of its context."""

    chat: str
    subject: str
    version: int


async def standing(conn: Connection | Pool, asked: Sequence[Asked]) -> list[Standing]:
    """How these conversations stand, in the order of the questions."""
    rows = await conn.fetch(_STANDING, *map(list, zip(*asked, strict=True))) if asked else []
    return [_standing_of(row) for row in rows]


def _standing_of(row: Record) -> Standing:
    if row["id"] is None:
        return Standing(known=bool(row["known"]), answers=row["answers"])
    waiting = [] if row["waiting"] is None else orjson.loads(row["waiting"])
    return Standing(
        there=True,
        context=orjson.loads(row["context_json"]),
        version=row["context_version"],
        waiting=[buffered_of(one) for one in waiting],
        known=bool(row["known"]),
        answers=row["answers"],
        **{name: row[name] for name in _COPIED},
    )


async def of_line(pool: Pool, line: str) -> str | None:
    """The conversation in which the person of a phone line has written last; None: they have none."""
    chat: str | None = await pool.fetchval(_OF_LINE, line)
    return chat


async def language_of(pool: Pool, phones: Sequence[str]) -> str | None:
    """The language of a person, as their order tells it. *phones*: the notations of theirs."""
    language: str | None = await pool.fetchval(_LANGUAGE, phones)
    return language


async def lock(conn: Connection, chats: Sequence[str]) -> None:
    """Lock conversations for this transaction."""
    await conn.execute(_LOCK, chats)


async def see(conn: Connection, seen: Sequence[Seen]) -> None:
    """Keep what is told of conversations. *Seen.wrote_at* counts each time: give a message once."""
    await conn.executemany(_SEE, [_values(one) for one in sorted(seen, key=lambda one: one.chat.key)])


def _values(one: Seen) -> tuple[Any, ...]:
    chat, wrote = one.chat, one.wrote_at is not None
    numbers = (chat.account, chat.conversation, chat.inbox)
    person = (one.line, one.phone, one.contact_ref, one.name)
    return (chat.key, chat.system, one.subject, *numbers, one.channel, *person, int(wrote), one.wrote_at)


async def turn(conn: Connection, contexts: Sequence[Context]) -> set[str]:
    """Change the contexts of dialogs, one of each chat; returns the chats whose context still was the one by which that
    was decided."""
    given = [
        (one.chat, one.version, json_text(dict(one.document)), one.due_at, one.language, one.escalated_why, one.at)
        for one in sorted(contexts, key=lambda one: one.chat)
    ]
    return {row["chat"] for row in await conn.fetchmany(_TURN, given)} if given else set()


async def wind(conn: Connection, clocks: Sequence[Clock]) -> None:
    """Say when the clock is to look at conversations."""
    for what, query in (("settles_at", _SETTLE), ("due_at", _DUE)):
        await conn.executemany(query, sorted((one.chat, one.at) for one in clocks if one.what == what))


async def look_again(conn: Connection, chats: Sequence[tuple[str, datetime]]) -> None:
    """What is not understood yet of each chat is understood at its time, or earlier."""
    await conn.executemany(_LOOK_AGAIN, sorted(chats))


async def take_settled(conn: Connection, now: datetime, limit: int) -> list[Due]:
    """Take conversations whose messages are to be understood, the earliest first. Of several processes one takes
    each."""
    return _taken(await conn.fetch(_TAKE.format(at="settles_at"), now, limit))


async def take_due(conn: Connection, now: datetime, limit: int) -> list[Due]:
    """Take conversations whose dialog is to be looked at, in the same way."""
    return _taken(await conn.fetch(_TAKE.format(at="due_at"), now, limit))


def _taken(rows: Sequence[Record]) -> list[Due]:
    return sorted(Due(*row) for row in rows)
