"""Messages to people: requested, claimed before they are sent, and how they ended. The one row of a message decides who
may send it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from adapters.postgres.json_text import json_text
from adapters.postgres.pool import Connection, Pool, Record
from schemas.messages import RANKS

_RANK: Final = "array_position(ARRAY[{ranks}], {{}})".format(ranks=", ".join(f"'{status}'" for status in RANKS))

_REQUEST: Final = """
INSERT INTO messages (id, direction, status, provider, account, phone, kind, content, purpose, not_before, event_id,
                      category, route, conversation, released_at, created_at)
VALUES ($1, 'out', 'queued', $2, $3, $4, $5, $6::jsonb, $7, $8, $9, $10, $11, $12,
        CASE WHEN $8::timestamptz IS NULL THEN now() END, clock_timestamp())
"""
_REQUEST_ONCE: Final = f"{_REQUEST} ON CONFLICT (id) DO NOTHING RETURNING id"
_KEEP_KEY: Final = """
INSERT INTO idempotency_keys (key, digest, message_id) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING
"""
_KEY: Final = "SELECT digest, message_id FROM idempotency_keys WHERE key = $1"

_STATES: Final = """
SELECT m.id, m.status, m.attempts, COALESCE(c.name, r.name), w.written_at, COALESCE(o.opted_out, false), s.until,
       s.error, m.category, m.event_id, m.provider, m.account, m.route,
       CASE WHEN m.moves IS NOT NULL THEN m.content::text END, m.conversation
FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY AS given (id, line, systems, place)
LEFT JOIN LATERAL (SELECT * FROM messages WHERE id = given.id LIMIT 1) m ON true
LEFT JOIN LATERAL (
  SELECT contact_id FROM contact_identities WHERE kind = 'phone' AND value = m.phone LIMIT 1
) i ON true
LEFT JOIN LATERAL (SELECT name FROM contacts WHERE id = i.contact_id LIMIT 1) c ON true
LEFT JOIN LATERAL (SELECT name FROM campaign_recipients WHERE message_id = m.id LIMIT 1) r ON true
LEFT JOIN LATERAL (
  SELECT max(written_at) AS written_at FROM customer_windows
  WHERE line = given.line AND system = ANY (string_to_array(given.systems, ','))
) w ON true
LEFT JOIN LATERAL (
  SELECT bool_or(opted_out) AS opted_out FROM opt_outs
  WHERE line = given.line AND (scope = 'all' OR (scope = 'marketing' AND m.category = 'marketing'))
) o ON true
LEFT JOIN LATERAL (
  SELECT until, error FROM template_stops
  WHERE provider = m.provider AND account = m.account AND name = m.content ->> 'name'
    AND language = COALESCE(m.content ->> 'language', '') AND m.kind = 'template' AND until > now() LIMIT 1
) s ON true
ORDER BY given.place
"""
_CLAIM: Final = """
UPDATE messages SET status = 'sending', attempts = attempts + 1, claimed_at = now(), error = NULL, updated_at = now()
WHERE id = $1 AND status = 'queued' AND event_id = COALESCE($2, event_id)
  AND ($3::text IS NULL OR (provider, account) = ($3, $4)) RETURNING attempts
"""
_UNCLAIM: Final = """
UPDATE messages SET status = 'queued', error = $3, updated_at = now()
WHERE id = $1 AND status = 'sending' AND attempts = $2
"""
_RELEASE: Final = """
WITH due AS MATERIALIZED (
  SELECT id FROM messages WHERE released_at IS NULL AND status = 'queued' AND not_before <= now()
  ORDER BY not_before LIMIT $1 FOR UPDATE SKIP LOCKED)
UPDATE messages m SET released_at = now() FROM due WHERE m.id = due.id
RETURNING m.id, m.provider, m.account, m.phone, m.kind, m.content::text, m.purpose, m.event_id, m.category,
          m.not_before
"""
_REQUEUE: Final = """
UPDATE messages SET status = 'queued', error = NULL, error_code = NULL, failed_at = NULL,
  event_id = COALESCE($3, event_id), updated_at = now()
WHERE id = $1 AND status = $2 AND provider_message_id IS NULL
RETURNING id, provider, account, phone, kind, content::text, purpose, event_id, category
"""
_THERE: Final = """
SELECT m.id FROM unnest($1::uuid[]) WITH ORDINALITY AS given (id, place)
JOIN LATERAL (SELECT id FROM messages WHERE id = given.id LIMIT 1) m ON true ORDER BY given.place
"""
_STATUSES: Final = """
SELECT m.status FROM unnest($1::uuid[]) WITH ORDINALITY AS given (id, place)
LEFT JOIN LATERAL (SELECT status FROM messages WHERE id = given.id LIMIT 1) m ON true ORDER BY given.place
"""
_CANCEL: Final = """
UPDATE messages SET status = 'canceled', updated_at = now() WHERE id = $1 AND status = 'queued' RETURNING id
"""

_UNCERTAIN: Final = """
SELECT provider, count(*) FILTER (WHERE status = 'uncertain') FROM messages
WHERE status IN ('queued', 'sending', 'uncertain') GROUP BY provider
"""

LONGEST_ID: Final = 500
"""Characters of a provider's id of a message; a longer one fits no index, and is not kept."""

# Rows are locked in the order of id. A status never takes the place of one of a higher rank. A provider's id that is
# another message's already, as of a gateway that gives all messages one, is left with that one.
_END: Final = f"""
WITH locked AS MATERIALIZED (SELECT id FROM messages WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE)
UPDATE messages m SET
  status = CASE WHEN given.status IN ('skipped', 'canceled')
                  OR {_RANK.format("given.status")} > {_RANK.format("m.status")} THEN given.status ELSE m.status END,
  provider_message_id = COALESCE(m.provider_message_id, CASE
    WHEN length(given.provider_id) > {LONGEST_ID} OR EXISTS (
      SELECT FROM messages o
      WHERE o.provider = m.provider AND o.provider_message_id = given.provider_id AND o.id <> m.id) THEN NULL
    ELSE given.provider_id END),
  error = CASE WHEN given.status = 'sent' AND m.status <> 'failed' THEN NULL ELSE COALESCE(given.error, m.error) END,
  error_code = COALESCE(given.error_code, m.error_code),
  sent_at = CASE WHEN given.status = 'sent' THEN COALESCE(m.sent_at, GREATEST(given.at, m.claimed_at))
                 ELSE m.sent_at END,
  delivered_at = CASE WHEN given.status IN ('delivered', 'read', 'played') THEN LEAST(m.delivered_at, given.at)
                      ELSE m.delivered_at END,
  read_at = CASE WHEN given.status IN ('read', 'played') THEN LEAST(m.read_at, given.at) ELSE m.read_at END,
  failed_at = CASE WHEN given.status = 'failed' THEN given.at ELSE m.failed_at END,
  updated_at = now()
FROM locked JOIN unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[])
  AS given (id, status, at, provider_id, error, error_code) USING (id)
WHERE m.id = locked.id AND m.status NOT IN ('skipped', 'canceled')
"""  # noqa: S608 - constants only

_END_KILLING: Final = """
UPDATE messages SET
  status = CASE status WHEN 'sending' THEN 'uncertain' ELSE 'failed' END, error_code = 'poison',
  error = 'the process died each time it worked on this message', updated_at = now(),
  failed_at = CASE status WHEN 'queued' THEN $2::timestamptz END
WHERE event_id = $1 AND status IN ('queued', 'sending')
"""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Request:
    """A message that somebody has asked for. *content*: as JSON, by the name of its *kind*. *event_id*: of the event
    that brings it to its worker. *purpose*: who asked. *category*: what it is for, as WhatsApp sorts templates, where
    that is known. *route*: the channels that it may go by, in order; empty: only that of its account. *conversation*:
    Chatwoot's number of the one that it belongs to, where there is one."""

    id: UUID
    provider: str
    account: str
    phone: str
    kind: str
    content: Any
    purpose: str
    event_id: str
    not_before: datetime | None = None
    category: str | None = None
    route: tuple[str, ...] = ()
    conversation: int | None = None


class Kept(NamedTuple):
    """What an idempotency key stands for: the *digest* of the request that it came with, and the message."""

    digest: bytes
    message_id: UUID


class Asked(NamedTuple):
    """A question about a message. *systems*: by which of them its person may have written, comma-separated."""

    id: UUID
    line: str
    systems: str


@dataclass(frozen=True, slots=True)
class MessageState:
    """How a message stands; *status* None: there is none. *name*: of its person. *written_at*: when the person has
    written last. *opted_out*: whether they want no messages of its *category*. *stopped_until*: so long its template is
    stopped, and *stopped_why*. *event_id*: of the event that brings it. *provider*, *account*: by which it goes.
    *route*: the channels that it may go by, None or in order. *content*: what it says, as JSON text, where it was moved
    along its route. *conversation*: as of its `Request`."""

    status: str | None
    attempts: int
    name: str | None
    written_at: datetime | None
    opted_out: bool = False
    stopped_until: datetime | None = None
    stopped_why: str | None = None
    category: str | None = None
    event_id: str | None = None
    provider: str | None = None
    account: str | None = None
    route: Sequence[str] | None = None
    content: str | None = None
    conversation: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Ended:
    """What became of a message at *at*: of the RANKS, or `skipped`."""

    id: UUID
    status: str
    at: datetime
    provider_id: str | None = None
    error: str | None = None
    error_code: str | None = None


class Killing(NamedTuple):
    """The event that brings a message kills the process, as was found at *at*."""

    event_id: str
    at: datetime


async def request(conn: Connection, message: Request) -> None:
    """Store a message that is to be sent."""
    await conn.execute(_REQUEST, *_values(message))


async def request_once(conn: Connection, given: Sequence[Request]) -> set[UUID]:
    """Store messages that are to be sent, each unless one with its id was stored before; returns the ids of those that
    are new."""
    values = [_values(one) for one in sorted(given, key=lambda one: one.id)]
    return {UUID(str(row["id"])) for row in await conn.fetchmany(_REQUEST_ONCE, values)} if values else set()


def _values(m: Request) -> tuple[Any, ...]:
    content, time = json_text(m.content), m.not_before
    given = (m.id, m.provider, m.account, m.phone, m.kind, content, m.purpose, time, m.event_id, m.category)
    return (*given, list(m.route) or None, m.conversation)


async def release(conn: Connection, limit: int) -> list[Request]:
    """Take scheduled messages whose time has come, the earliest first. Of several processes one takes each."""
    rows = await conn.fetch(_RELEASE, limit)
    return [request_of(row) for row in sorted(rows, key=lambda row: row["not_before"])]


def request_of(row: Record) -> Request:
    """The message of a row that has its columns."""
    names = ("id", "provider", "account", "phone", "kind", "purpose", "event_id", "category")
    return Request(**{name: row[name] for name in names}, content=orjson.loads(row["content"]))


async def requeue(conn: Connection | Pool, id: UUID, status: str, event_id: str | None = None) -> Request | None:
    """Queue a message anew that stands at *status* (`uncertain`, `failed`) and has no id of its provider; None: it does
    not. *event_id*: of the event that is to bring it; None: the one that has brought it."""
    row = await conn.fetchrow(_REQUEUE, id, status, event_id)
    return None if row is None else request_of(row)


async def there(conn: Connection | Pool, ids: Sequence[UUID]) -> list[UUID]:
    """Those of *ids* that are the ids of messages, in their order."""
    return [row["id"] for row in await conn.fetch(_THERE, ids)]


async def statuses(conn: Connection | Pool, ids: Sequence[UUID]) -> list[str | None]:
    """How these messages stand, in their order; None: there is none."""
    return [row[0] for row in await conn.fetch(_STATUSES, ids)]


async def keep_key(conn: Connection, key: str, digest: bytes, message_id: UUID) -> Kept | None:
    """Let *key* stand for a message that is stored in this transaction. Returns what it stands for already, by another
    transaction: then this one is to be given up."""
    if (await conn.execute(_KEEP_KEY, key, digest, message_id)).endswith(" 1"):
        return None
    return await key_of(conn, key)


async def key_of(conn: Connection | Pool, key: str) -> Kept | None:
    """What *key* stands for; None: nothing yet."""
    row = await conn.fetchrow(_KEY, key)
    return None if row is None else Kept(*row)


async def states(conn: Connection | Pool, asked: Sequence[Asked]) -> list[MessageState]:
    """How these messages stand, in the order of the questions."""
    rows = await conn.fetch(_STATES, *map(list, zip(*asked, strict=True))) if asked else []
    return [MessageState(status, attempts or 0, *rest) for _, status, attempts, *rest in rows]


async def claim(pool: Pool, id: UUID, event_id: str | None = None, by: tuple[str, str] | None = None) -> int | None:
    """Mark a queued message as being sent, before its call goes out; returns which attempt it is. *by*: the provider
    and the account that are to be called. None: it is not queued any more, goes by another account by now, or another
    event than *event_id* brings it, as where it has changed since."""
    attempt: int | None = await pool.fetchval(_CLAIM, id, event_id, *(by or (None, None)))
    return attempt


async def unclaim(pool: Pool, id: UUID, attempt: int, why: str) -> None:
    """The call of that attempt has not gone out, or was refused before anything happened: the message is queued."""
    await pool.execute(_UNCLAIM, id, attempt, why)


async def cancel(conn: Connection | Pool, id: UUID) -> bool:
    """Take back a message that is still queued; whether that was done."""
    return await conn.fetchval(_CANCEL, id) is not None


async def uncertain(pool: Pool) -> dict[str, int]:
    """Provider -> how many of its messages may have been sent and nobody knows, of those with open messages."""
    return {row[0]: row[1] for row in await pool.fetch(_UNCERTAIN)}


async def end_killing(conn: Connection, rows: Sequence[Killing]) -> None:
    """End the messages of events that kill the process: one whose call was begun may have been sent."""
    for row in sorted(rows):
        await conn.execute(_END_KILLING, *row)


async def end(conn: Connection, rows: Sequence[Ended]) -> None:
    """Record what became of messages; of several rows of one message each counts, by its rank."""
    for row in sorted(rows, key=lambda one: (one.id, RANKS.get(one.status, 0))):
        given = (row.id, row.status, row.at, row.provider_id, row.error, row.error_code)
        await conn.execute(_END, *([value] for value in given))
