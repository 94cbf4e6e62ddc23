"""Dead letters: events that ended without success, whole, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from adapters.postgres.pool import Connection, Pool, Record
from schemas.envelope import TYPES, Event

State: TypeAlias = Literal["open", "retried", "discarded"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that will not be tried again by itself, and the error that ended it."""

    event: Event
    error_class: str
    error_text: str
    attempts: int


_BURY: Final = """
INSERT INTO dead_letters AS d (worker, event_id, replay_id, type, source, subject, time, data, traceparent, causationid,
    schemaversion, error_class, error_text, attempts)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::text[],
    $9::text[], $10::text[], $11::int[], $12::text[], $13::text[], $14::int[])
ON CONFLICT (worker, event_id, replay_id) DO UPDATE
SET error_class = excluded.error_class, error_text = excluded.error_text, attempts = excluded.attempts,
    state = 'open', buried_at = now(), settled_at = NULL
"""


async def bury(conn: Connection, worker: str, letters: Sequence[DeadLetter]) -> None:
    """Keep *letters*. An event that was buried, retried and buried again has one row, open once more."""
    events = [letter.event for letter in letters]
    await conn.execute(
        _BURY,
        worker,
        [e.id for e in events],
        [e.replayid for e in events],
        [e.type for e in events],
        [e.source for e in events],
        [e.subject for e in events],
        [e.time for e in events],
        [e.data.decode(errors="replace").replace("\x00", "\ufffd") for e in events],
        [e.traceparent for e in events],
        [e.causationid for e in events],
        [e.schemaversion for e in events],
        [letter.error_class for letter in letters],
        [letter.error_text for letter in letters],
        [letter.attempts for letter in letters],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which open letters; None: any. *text*: a part of the error's text, as it is written."""

    ids: tuple[int, ...] | None = None
    worker: str | None = None
    error_class: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Open letters of one worker that failed alike. *ids*: the first few, in the order of their events."""

    worker: str
    error_class: str
    error_text: str
    count: int
    oldest: datetime
    newest: datetime
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A letter as it is kept. *retries*: how often it was sent again. *edited_at*: when its data was last edited."""

    id: int
    worker: str
    event: Event
    error_class: str
    error_text: str
    attempts: int
    state: State
    buried_at: datetime
    settled_at: datetime | None
    settled_by: str | None
    retries: int
    edited_at: datetime | None


@dataclass(frozen=True, slots=True)
class Target:
    """An open letter that was chosen. *runnable*: it holds an event; else it is a stream entry nobody could read."""

    id: int
    worker: str
    runnable: bool


_CHOSEN: Final = """
state = 'open' AND ($1::bigint[] IS NULL OR id = ANY($1)) AND ($2::text IS NULL OR worker = $2)
AND ($3::text IS NULL OR error_class = $3) AND ($4::text IS NULL OR position($4 IN error_text) > 0)
"""
_GROUPS: Final = f"""
SELECT worker, error_class, error_text, count(*) AS count, min(buried_at) AS oldest, max(buried_at) AS newest,
    (array_agg(id ORDER BY time, id))[:20] AS ids
FROM dead_letters WHERE {_CHOSEN} GROUP BY worker, error_class, error_text ORDER BY count DESC, oldest
"""  # noqa: S608 - constants only
_TARGETS: Final = f"""
SELECT id, worker, type = ANY($5::text[]) AS runnable FROM dead_letters WHERE {_CHOSEN} ORDER BY time, id
"""  # noqa: S608 - constants only
_FIND: Final = "SELECT * FROM dead_letters WHERE id = $1 OR event_id = $2 ORDER BY id"
_LOCK: Final = "SELECT id FROM dead_letters WHERE id = ANY($1::bigint[]) AND state = 'open' ORDER BY id FOR UPDATE"
_EDIT: Final = "UPDATE dead_letters SET data = $2, subject = $3, edited_at = now() WHERE id = ANY($1::bigint[])"
_UNEND: Final = """
DELETE FROM {table} t USING dead_letters d
WHERE d.id = ANY($1::bigint[]) AND t.event_id = d.event_id AND t.worker = d.worker AND t.replay_id = d.replay_id
"""
_RESEND: Final = """
INSERT INTO outbox (id, type, source, subject, time, data, traceparent, causationid, schemaversion, replayid, target)
SELECT event_id, type, source, subject, time, data, traceparent, causationid, schemaversion, replay_id, worker
FROM dead_letters WHERE id = ANY($1::bigint[]) ORDER BY time, id
"""
_SETTLE: Final = """
UPDATE dead_letters SET state = $2, settled_at = now(), settled_by = $3, retries = retries + $4
WHERE id = ANY($1::bigint[])
"""


async def groups(pool: Pool, chosen: Choice) -> list[Group]:
    """The open letters that fit, by worker and error; the largest group first."""
    rows = await pool.fetch(_GROUPS, *_arguments(chosen))
    return [Group(**{**row, "ids": tuple(row["ids"])}) for row in rows]


async def targets(pool: Pool, chosen: Choice) -> list[Target]:
    """The open letters that fit, in the order of their events' times."""
    rows = await pool.fetch(_TARGETS, *_arguments(chosen), list(TYPES))
    return [Target(row["id"], row["worker"], row["runnable"]) for row in rows]


async def find(pool: Pool, letter_id: int | None, event_id: str | None) -> list[Kept]:
    """The letters with this id or of this event, whatever their state."""
    return [_kept(row) for row in await pool.fetch(_FIND, letter_id, event_id)]


async def retry(conn: Connection, ids: Sequence[int], who: str, *, edited: tuple[str, str] | None = None) -> int:
    """Send open letters to their workers once more; returns how many were still open. Inside a transaction.

    The worker's inbox forgets how each ended, so it runs again; the outbox delivers it to that worker alone, behind
    what its key has in hand. *edited*: (data, subject) in place of the letter's own.
    """
    live = [row["id"] for row in await conn.fetch(_LOCK, ids)]
    if live and edited is not None:
        await conn.execute(_EDIT, live, *edited)
    if live:
        for table in ("inbox", "attempts"):
            await conn.execute(_UNEND.format(table=table), live)
        await conn.execute(_RESEND, live)
        await conn.execute(_SETTLE, live, "retried", who, 1)
    return len(live)


async def discard(conn: Connection, ids: Sequence[int], who: str) -> int:
    """Nobody will look at these letters again; their events stay dead. Returns how many were still open."""
    live = [row["id"] for row in await conn.fetch(_LOCK, ids)]
    await conn.execute(_SETTLE, live, "discarded", who, 0)
    return len(live)


def _arguments(chosen: Choice) -> tuple[object, ...]:
    ids = list(chosen.ids) if chosen.ids is not None else None
    return ids, chosen.worker, chosen.error_class, chosen.text


def _kept(row: Record) -> Kept:
    event = Event(
        id=row["event_id"],
        type=row["type"],
        source=row["source"],
        subject=row["subject"],
        time=row["time"],
        data=row["data"].encode(),
        traceparent=row["traceparent"],
        causationid=row["causationid"],
        schemaversion=row["schemaversion"],
        replayid=row["replay_id"],
    )
    names = ("id", "worker", "error_class", "error_text", "attempts", "state", "buried_at", "settled_at", "settled_by")
    return Kept(event=event, **{name: row[name] for name in (*names, "retries", "edited_at")})
