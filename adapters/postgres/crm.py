"""What the labels and attributes of the CRM go by: what people have said, and what was written for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

import orjson

from adapters.postgres.json_text import json_text
from adapters.postgres.pool import Connection, Pool

MOST_COUNTED: Final = 1000
"""Earlier messages of a person that are counted when the first one is seen here."""

POSTED: Final = 8
"""Lists of a conversation that are kept."""

Posted: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""The labels that were there, and the list that was written in their place."""

_STANDING: Final = """
SELECT COALESCE(p.messages, 0), COALESCE(p.heard, '{}'), COALESCE(p.attributes, '{}')::text,
  COALESCE(given.conversation_id, p.conversation_id), seen.message_key IS NOT NULL,
  COALESCE(l.put, '{}'), COALESCE(l.wished, '{}'), COALESCE(l.posted, '[]')::text,
  CASE WHEN p.person IS NULL AND given.phones <> '' THEN (
    SELECT count(*) FROM (
      SELECT FROM messages WHERE phone = ANY (string_to_array(given.phones, ',')) AND direction = 'in'
        AND sent_at < given.at LIMIT $7) AS earlier)
  ELSE 0 END
FROM unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::bigint[]) WITH ORDINALITY
  AS given (person, message_key, phones, at, conversation_id, place)
LEFT JOIN LATERAL (SELECT * FROM crm_people WHERE account_id = $1 AND person = given.person LIMIT 1) p ON true
LEFT JOIN LATERAL (SELECT message_key FROM crm_messages WHERE message_key = given.message_key LIMIT 1) seen ON true
LEFT JOIN LATERAL (
  SELECT * FROM crm_labels
  WHERE account_id = $1 AND conversation_id = COALESCE(given.conversation_id, p.conversation_id) LIMIT 1
) l ON true
ORDER BY given.place
"""
_COUNT: Final = """
INSERT INTO crm_messages (message_key) SELECT unnest($1::text[]) ORDER BY 1 ON CONFLICT DO NOTHING RETURNING message_key
"""
_PERSON: Final = """
INSERT INTO crm_people AS p (account_id, person, messages, heard, attributes, conversation_id)
VALUES ($1, $2, $3, $4, $5::jsonb, $6)
ON CONFLICT (account_id, person) DO UPDATE SET messages = p.messages + $7,
  heard = ARRAY(SELECT DISTINCT unnest(p.heard || excluded.heard) ORDER BY 1),
  attributes = p.attributes || excluded.attributes,
  conversation_id = COALESCE(excluded.conversation_id, p.conversation_id), updated_at = now()
"""
_LABELS: Final = """
INSERT INTO crm_labels AS l (account_id, conversation_id, put, wished, posted)
VALUES ($1, $2, $3, COALESCE($5, '{}'::text[]), $6::jsonb)
ON CONFLICT (account_id, conversation_id) DO UPDATE SET
  put = ARRAY(SELECT DISTINCT one FROM unnest(l.put || $3) AS one WHERE one <> ALL ($4::text[]) ORDER BY 1),
  wished = COALESCE($5, l.wished),
  posted = COALESCE((
    SELECT jsonb_agg(list) FROM (
      SELECT list FROM jsonb_array_elements($6::jsonb || l.posted) WITH ORDINALITY AS all_of (list, n) ORDER BY n
      LIMIT $7) AS newest), '[]'),
  updated_at = now()
"""
_KEEP_KEY: Final = """
INSERT INTO label_requests (key, digest, event_id) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING
"""
_KEY: Final = "SELECT digest, event_id FROM label_requests WHERE key = $1"
_SUBJECT: Final = """
SELECT line FROM conversations WHERE chatwoot_account_id = $1 AND chatwoot_conversation_id = $2 LIMIT 1
"""


class Asked(NamedTuple):
    """Of whom it is asked: a message by *message_key*, of *person*, written *at*. *phones*: the notations of their
    phone. *conversation_id*: where it is known already; None: where labels were put last."""

    person: str
    message_key: str
    phones: Sequence[str]
    at: datetime
    conversation_id: int | None


@dataclass(frozen=True, slots=True, repr=False)
class Standing:
    """How a person stands. *messages*: counted so far. *heard*: rules. *attributes*: as they were written last.
    *conversation_id*: as it was asked, else where labels were put last. *counted*: the message is among those.
    *put*, *wished*, *posted*: of that conversation. *before*: earlier messages of a person who is new here."""

    messages: int
    heard: frozenset[str]
    attributes: Mapping[str, Any]
    conversation_id: int | None
    counted: bool
    put: frozenset[str]
    wished: frozenset[str]
    posted: Sequence[Posted]
    before: int


@dataclass(frozen=True, slots=True, repr=False)
class Heard:
    """What a message tells of *person*. *before*: as of Standing. *heard*: rules whose words it says. *attributes*:
    those that were written for it. *conversation_id*: where its labels are. *counts*: false: it is the text of a voice
    note, whose message counts by itself."""

    account_id: int
    person: str
    message_key: str
    before: int
    heard: frozenset[str]
    attributes: Mapping[str, Any]
    conversation_id: int | None
    counts: bool = True


@dataclass(frozen=True, slots=True, repr=False)
class Labelled:
    """What was done to the labels of a conversation. *ours*: those that are ours by now. *wished*: None: as before.
    *posted*: the newest first."""

    account_id: int
    conversation_id: int
    ours: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    wished: frozenset[str] | None = None
    posted: Sequence[Posted] = ()


class Kept(NamedTuple):
    """What an idempotency key stands for."""

    digest: bytes
    event_id: UUID


async def standing(pool: Pool, account_id: int, asked: Sequence[Asked]) -> list[Standing]:
    """How each stands, in their order."""
    columns = (
        [one.person for one in asked],
        [one.message_key for one in asked],
        [",".join(one.phones) for one in asked],
        [one.at for one in asked],
        [one.conversation_id for one in asked],
    )
    return [_standing(*row) for row in await pool.fetch(_STANDING, account_id, *columns, MOST_COUNTED)]


def _standing(
    messages: int,
    heard: list[str],
    attributes: str,
    conversation_id: int | None,
    counted: bool,
    put: list[str],
    wished: list[str],
    posted: str,
    before: int,
) -> Standing:
    lists = tuple((tuple(one["before"]), tuple(one["list"])) for one in orjson.loads(posted))
    whole = orjson.loads(attributes)
    sets = frozenset(put), frozenset(wished)
    return Standing(messages, frozenset(heard), whole, conversation_id, counted, *sets, lists, before)


async def record(conn: Connection, heard: Sequence[Heard], labelled: Sequence[Labelled]) -> None:
    """Keep a batch. A message counts once. Locks are taken in one order: messages, people, conversations, each by its
    key."""
    keys = list({row.message_key for row in heard})
    new = {row["message_key"] for row in await conn.fetch(_COUNT, keys)} if keys else set()
    people = []
    for row in sorted(heard, key=lambda one: (one.account_id, one.person, one.message_key)):
        told = (row.before + row.counts, sorted(row.heard), json_text(row.attributes), row.conversation_id)
        people.append((row.account_id, row.person, *told, int(row.counts and row.message_key in new)))
        new.discard(row.message_key)
    await conn.executemany(_PERSON, people)
    done = sorted(labelled, key=lambda one: (one.account_id, one.conversation_id))
    await conn.executemany(_LABELS, [_put(one) for one in done])


def _put(one: Labelled) -> tuple[Any, ...]:
    wished = None if one.wished is None else sorted(one.wished)
    lists = json_text([{"before": before, "list": written} for before, written in one.posted])
    return (one.account_id, one.conversation_id, sorted(one.ours), sorted(one.removed), wished, lists, POSTED)


async def line_of(pool: Pool, account_id: int, conversation_id: int) -> str | None:
    """The phone line of whom a conversation of the CRM is with, as far as it is known."""
    line: str | None = await pool.fetchval(_SUBJECT, account_id, conversation_id)
    return line


async def keep_key(conn: Connection, key: str, digest: bytes, event_id: UUID) -> Kept | None:
    """Let *key* stand for a request. Returns what it stands for already; None: for this one."""
    if (await conn.execute(_KEEP_KEY, key, digest, event_id)).endswith(" 1"):
        return None
    row = await conn.fetchrow(_KEY, key)
    assert row is not None, "the key has just been found taken"
    return Kept(*row)
