"""What operators do with dead letters: find them, send them again, discard them. `bus.burials` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from adapters.postgres.bus.events import event_of
from adapters.postgres.pool import Connection, Pool, Record
from schemas.envelope import TYPES, Event

State: TypeAlias = Literal["open", "retried", "discarded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFilter:
    """Which open letters; None: any. *text*: a part of the error's text, as it is written."""

    ids: tuple[int, ...] | None = None
    worker: str | None = None
    error_class: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Open letters of one worker with the same error. *ids*: the first few, in the order of their events."""

    worker: str
    error_class: str
    error_text: str
    count: int
    oldest: datetime
    newest: datetime
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A letter as it is stored. *settled_by*: the operator who retried or discarded it last. *retries*: how often it
    was sent again. *edited_at*: when its data was last edited."""

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
class ChosenLetter:
    """An open letter that fits a filter. *runnable*: it holds an event; else it holds a stream entry that no worker
    could read."""

    id: int
    worker: str
    runnable: bool


_FITS: Final = """
state = 'open' AND ($1::bigint[] IS NULL OR id = ANY($1)) AND ($2::text IS NULL OR worker = $2)
AND ($3::text IS NULL OR error_class = $3) AND ($4::text IS NULL OR position($4 IN error_text) > 0)
"""
_GROUPS: Final = f"""
SELECT worker, error_class, error_text, count(*) AS count, min(buried_at) AS oldest, max(buried_at) AS newest,
    (array_agg(id ORDER BY time, id))[:20] AS ids
FROM dead_letters WHERE {_FITS} GROUP BY worker, error_class, error_text ORDER BY count DESC, oldest
"""  # noqa: S608 - constants only
_CHOSEN: Final = f"""
SELECT id, worker, type = ANY($5::text[]) AS runnable FROM dead_letters WHERE {_FITS} ORDER BY time, id
"""  # noqa: S608 - constants only
_FIND: Final = """
SELECT id AS number, worker, error_class, error_text, attempts, state, buried_at, settled_at, settled_by, retries,
    edited_at, event_id AS id, type, source, subject, time, data, traceparent, causationid, schemaversion,
    replay_id AS replayid
FROM dead_letters WHERE id = $1 OR event_id = $2 ORDER BY number
"""
_LOCK: Final = "SELECT id FROM dead_letters WHERE id = ANY($1::bigint[]) AND state = 'open' ORDER BY id FOR UPDATE"
_EDIT: Final = "UPDATE dead_letters SET data = $2, subject = $3, edited_at = now() WHERE id = ANY($1::bigint[])"
_FORGET_END: Final = """
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


async def groups(pool: Pool, wanted: LetterFilter) -> list[LetterGroup]:
    """The open letters that fit, by worker and error; the largest group first."""
    rows = await pool.fetch(_GROUPS, *_arguments(wanted))
    return [LetterGroup(**{**row, "ids": tuple(row["ids"])}) for row in rows]


async def chosen(pool: Pool, wanted: LetterFilter) -> list[ChosenLetter]:
    """The open letters that fit, in the order of their events' times."""
    rows = await pool.fetch(_CHOSEN, *_arguments(wanted), list(TYPES))
    return [ChosenLetter(row["id"], row["worker"], row["runnable"]) for row in rows]


async def find(pool: Pool, letter_id: int | None, event_id: str | None) -> list[StoredLetter]:
    """The letters with this id or of this event, whatever their state."""
    return [_stored(row) for row in await pool.fetch(_FIND, letter_id, event_id)]


async def retry(conn: Connection, ids: Sequence[int], operator: str, *, edited: tuple[str, str] | None = None) -> int:
    """Send open letters to their workers once more; returns how many were still open. Inside a transaction.

    The worker's inbox forgets how each ended, so the worker runs it again. The outbox delivers it to that worker
    alone, behind what the worker has in hand for its key. *operator*: the person, for the record. *edited*: (data,
    subject) in place of the letter's own.
    """
    live = [row["id"] for row in await conn.fetch(_LOCK, ids)]
    if live and edited is not None:
        await conn.execute(_EDIT, live, *edited)
    if live:
        for table in ("inbox", "attempts"):
            await conn.execute(_FORGET_END.format(table=table), live)
        await conn.execute(_RESEND, live)
        await conn.execute(_SETTLE, live, "retried", operator, 1)
    return len(live)


async def discard(conn: Connection, ids: Sequence[int], operator: str) -> int:
    """Close open letters without another run; their events stay dead. *operator*: the person, for the record. Returns
    how many were still open."""
    live = [row["id"] for row in await conn.fetch(_LOCK, ids)]
    await conn.execute(_SETTLE, live, "discarded", operator, 0)
    return len(live)


def _arguments(wanted: LetterFilter) -> tuple[object, ...]:
    ids = list(wanted.ids) if wanted.ids is not None else None
    return ids, wanted.worker, wanted.error_class, wanted.text


def _stored(row: Record) -> StoredLetter:
    return StoredLetter(
        id=row["number"],
        worker=row["worker"],
        event=event_of(row),
        error_class=row["error_class"],
        error_text=row["error_text"],
        attempts=row["attempts"],
        state=row["state"],
        buried_at=row["buried_at"],
        settled_at=row["settled_at"],
        settled_by=row["settled_by"],
        retries=row["retries"],
        edited_at=row["edited_at"],
    )
