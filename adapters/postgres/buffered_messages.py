"""What people have written and what is not understood yet: `buffered_messages`. A row stays for a while after that: it
shows that its message has come before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from adapters.postgres.pool import Connection, Pool

# a text that came before its message waits in a row without a chat
_KEEP: Final = """
INSERT INTO buffered_messages AS b (chat, message_key, event_id, place, at, kind, text, choice, answers, source_id,
  waits_for_text, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (message_key) DO UPDATE SET chat = excluded.chat, event_id = excluded.event_id, place = excluded.place,
  at = excluded.at, kind = excluded.kind, text = COALESCE(excluded.text, b.text), choice = excluded.choice,
  answers = excluded.answers, source_id = excluded.source_id, created_at = excluded.created_at, understood_at = NULL,
  noted = false
WHERE b.chat = ''
"""
_UNDERSTAND: Final = """
UPDATE buffered_messages SET understood_at = $2, intent = $3, intent_confidence = $4, intent_reason = $5
WHERE message_key = ANY ($1::text[]) AND understood_at IS NULL
"""
# one that was understood without its text is understood anew
_TRANSCRIBE: Final = """
INSERT INTO buffered_messages AS b (chat, message_key, event_id, place, at, kind, text, understood_at, noted)
VALUES ('', $1, $3, 0, $4, 'voice', $2, $4, true)
ON CONFLICT (message_key) DO UPDATE SET text = COALESCE(b.text, excluded.text), waits_for_text = false, noted = false,
  understood_at = CASE WHEN b.waits_for_text AND excluded.text IS NOT NULL THEN NULL ELSE b.understood_at END
WHERE b.chat <> '' AND b.waits_for_text
"""
_OF_KEY: Final = "SELECT chat FROM buffered_messages WHERE message_key = $1 AND chat <> ''"
_RANK: Final = "(CASE split_part({0}, ':', 1) WHEN 'chatwoot' THEN 0 WHEN 'cgb' THEN 2 ELSE 1 END, {0})"
# of two that are not understood yet, Chatwoot's goes first, and last CGB's, which has no id
_ELSEWHERE: Final = f"""
b.chat <> $5 AND b.intent_reason IS DISTINCT FROM $6
AND (b.understood_at IS NOT NULL OR {_RANK.format("b.chat")} < {_RANK.format("$5")})
"""
_TWINS: Final = f"""
SELECT given.key FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS given (key, source_id, text, at)
LEFT JOIN LATERAL (
  SELECT true AS found FROM buffered_messages b WHERE b.source_id = given.source_id AND {_ELSEWHERE} LIMIT 1
) by_id ON true
LEFT JOIN LATERAL (
  SELECT true AS found FROM conversations c JOIN buffered_messages b ON b.chat = c.chat
  WHERE c.line = $7 AND c.system <> split_part($5, ':', 1) AND b.text = given.text
    AND b.at BETWEEN given.at - interval '2 minutes' AND given.at + interval '2 minutes' AND {_ELSEWHERE} LIMIT 1
) by_words ON true
WHERE by_id.found OR by_words.found
"""  # noqa: S608 - constants only
_NOTE: Final = """
WITH ready AS MATERIALIZED (
  SELECT b.id, b.message_key, b.intent, b.intent_confidence, b.intent_reason
  FROM buffered_messages b JOIN meeting_notes n ON n.message_key = b.message_key
  WHERE b.understood_at > now() - interval '7 days' AND NOT b.noted AND b.intent IS NOT NULL
  ORDER BY b.id LIMIT $1 FOR UPDATE OF b SKIP LOCKED),
locked AS MATERIALIZED (  -- in the order that all who write notes keep to
  SELECT n.id, r.intent, r.intent_confidence, r.intent_reason
  FROM ready r JOIN meeting_notes n USING (message_key) ORDER BY n.id FOR NO KEY UPDATE OF n),
told AS (
  UPDATE meeting_notes n SET intent = l.intent, intent_confidence = l.intent_confidence, intent_reason = l.intent_reason
  FROM locked l WHERE n.id = l.id)
UPDATE buffered_messages b SET noted = true FROM ready WHERE b.id = ready.id
"""
_COUNT: Final = "SELECT count(*) FROM buffered_messages WHERE understood_at IS NULL"
_FORGET: Final = """
DELETE FROM buffered_messages WHERE id IN (
  SELECT id FROM buffered_messages WHERE understood_at < now() - make_interval(days => $1)
  ORDER BY understood_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Buffered:
    """A message of the person of *chat*. *key*: its name over all systems. *place*: its order within the chat.
    *choice*: the value of what was tapped; *answers*: our message that it replies to. *source_id*: WhatsApp's own id of
    it. *waits_for_text*: it is a voice note whose text comes later. *came_at*: when it was kept."""

    chat: str
    key: str
    event_id: str
    place: int
    at: datetime
    kind: str
    text: str | None
    came_at: datetime
    choice: str | None = None
    answers: UUID | None = None
    source_id: str | None = None
    waits_for_text: bool = False


class Understood(NamedTuple):
    """What messages were understood as, at *at*. *intent*: NOTE or ORDER."""

    keys: Sequence[str]
    at: datetime
    intent: str
    confidence: float
    reason: str


class Transcript(NamedTuple):
    """The text of a voice note, as the event *event_id* tells it at *at*; None: it has none."""

    key: str
    text: str | None
    event_id: str
    at: datetime


def buffered_of(row: Mapping[str, Any]) -> Buffered:
    """The message of a row as JSON."""
    answers = row["answers"]
    return Buffered(
        chat=row["chat"],
        key=row["message_key"],
        event_id=row["event_id"],
        place=int(row["place"]),
        at=datetime.fromisoformat(row["at"]),
        kind=row["kind"],
        text=row["text"],
        came_at=datetime.fromisoformat(row["created_at"]),
        choice=row["choice"],
        answers=None if answers is None else UUID(answers),
        source_id=row["source_id"],
        waits_for_text=row["waits_for_text"],
    )


async def keep(conn: Connection, messages: Sequence[Buffered]) -> None:
    """Keep messages, each once."""
    await conn.executemany(_KEEP, [_values(one) for one in sorted(messages, key=lambda one: one.key)])


def _values(m: Buffered) -> tuple[Any, ...]:
    said = (m.text, m.choice, m.answers, m.source_id, m.waits_for_text)
    return (m.chat, m.key, m.event_id, Decimal(m.place), m.at, m.kind, *said, m.came_at)


async def understand(conn: Connection, what: Sequence[Understood]) -> None:
    """Messages are understood."""
    ordered = sorted(what, key=lambda one: sorted(one.keys))
    given = [(sorted(one.keys), one.at, one.intent, one.confidence, one.reason) for one in ordered]
    await conn.executemany(_UNDERSTAND, given)


async def transcribe(conn: Connection, transcripts: Sequence[Transcript]) -> None:
    """Give voice notes their texts. A text that comes before its message waits for that."""
    given = [(one.key, one.text, one.event_id, one.at) for one in sorted(transcripts, key=lambda one: one.key)]
    await conn.executemany(_TRANSCRIBE, given)


async def chat_of(pool: Pool, key: str) -> str | None:
    """The chat of a message; None: it has not come."""
    chat: str | None = await pool.fetchval(_OF_KEY, key)
    return chat


async def twins(pool: Pool, messages: Sequence[Buffered], line: str | None, why: str) -> set[str]:
    """The keys of those *messages* of one chat that belong to another chat of the same person, as another system tells
    of them, too: by WhatsApp's id, or in the same words at about the same time, as CGB tells no id. *line*: of the
    person. *why*: as what those are understood that were left to another chat."""
    told = [[one.key for one in messages], [one.source_id for one in messages], [one.text for one in messages]]
    rows = await pool.fetch(_TWINS, *told, [one.at for one in messages], messages[0].chat, why, line)
    return {row["key"] for row in rows}


async def note(pool: Pool, limit: int) -> int:
    """Copy what messages were understood as to their rows of `meeting_notes`, which may come later; returns how many
    of at most *limit*."""
    return int((await pool.execute(_NOTE, limit)).rpartition(" ")[2])


async def waiting(pool: Pool) -> int:
    """How many messages are not understood yet."""
    return int(await pool.fetchval(_COUNT))


async def forget(pool: Pool, days: int, limit: int) -> int:
    """Remove at most *limit* messages that were understood more than *days* ago; returns how many."""
    return int((await pool.execute(_FORGET, days, limit)).rpartition(" ")[2])
