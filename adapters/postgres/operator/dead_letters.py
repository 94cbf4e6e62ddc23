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
    """Which open letters; None: any. *text*: a part of the error's text, as it is written. *fingerprint*: of the fault.
    *upto*: the last letter that was there when somebody looked."""

    ids: tuple[int, ...] | None = None
    worker: str | None = None
    error_class: str | None = None
    text: str | None = None
    fingerprint: str | None = None
    upto: int | None = None


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Open letters of one worker with the same fault. *error_text*: of the newest. *persons*: how many keys their
    events have. *ids*: the first few, in the order of their events. *hours*: how many were buried in each of the last
    24 hours, the current one last. *upto*: the last letter. *fingerprint*: None where an older version buried them and
    the daemon has not filled it in."""

    fingerprint: str | None
    worker: str
    error_class: str
    error_code: str
    error_text: str
    count: int
    persons: int
    oldest: datetime
    newest: datetime
    upto: int
    ids: tuple[int, ...]
    hours: tuple[int, ...]


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
AND ($5::text IS NULL OR fingerprint = $5) AND ($6::bigint IS NULL OR id <= $6)
"""
_GROUPS: Final = f"""
WITH fits AS (
    SELECT id, worker, fingerprint, error_class, error_code, error_text, subject, time, buried_at,
        -- those of an older version are grouped as they were then
        coalesce(fingerprint, error_class || chr(31) || error_text) AS alike,
        23 - floor(extract(epoch FROM date_trunc('hour', now()) - date_trunc('hour', buried_at)) / 3600)::int AS hour
    FROM dead_letters WHERE {_FITS}
), hours AS (
    SELECT worker, alike, hour, count(*) AS n FROM fits WHERE hour BETWEEN 0 AND 23 GROUP BY 1, 2, 3
)
SELECT max(fingerprint) AS fingerprint, worker, max(error_class) AS error_class, max(error_code) AS error_code,
    (array_agg(error_text ORDER BY buried_at DESC, id DESC))[1] AS error_text, count(*) AS count,
    count(DISTINCT subject) AS persons, min(buried_at) AS oldest, max(buried_at) AS newest, max(id) AS upto,
    (array_agg(id ORDER BY time, id))[:20] AS ids,
    ARRAY(SELECT coalesce(sum(h.n), 0)::int FROM generate_series(0, 23) AS at
        LEFT JOIN hours h ON h.hour = at AND h.worker = fits.worker AND h.alike = fits.alike
        GROUP BY at ORDER BY at) AS hours
FROM fits GROUP BY worker, alike ORDER BY count DESC, oldest
"""  # noqa: S608 - constants only
_CHOSEN: Final = f"""
SELECT id, worker, type = ANY($7::text[]) AS runnable FROM dead_letters WHERE {_FITS} ORDER BY time, id
"""  # noqa: S608 - constants only
_FIND: Final = """
SELECT id AS number, worker, error_class, error_text, attempts, state, buried_at, settled_at, settled_by, retries,
    edited_at, event_id AS id, type, source, subject, time, data, traceparent, causationid, schemaversion,
    replay_id AS replayid
FROM dead_letters WHERE id = $1 OR event_id = $2 ORDER BY number
"""
_CLASSES: Final = "SELECT DISTINCT error_class FROM dead_letters WHERE state = 'open' ORDER BY error_class"
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


async def open_classes(conn: Connection) -> list[str]:
    """The classes of the errors of open letters."""
    return [row["error_class"] for row in await conn.fetch(_CLASSES)]


async def groups(pool: Pool, wanted: LetterFilter) -> list[LetterGroup]:
    """The open letters that fit, by worker and fault; the largest group first."""
    rows = await pool.fetch(_GROUPS, *_arguments(wanted))
    return [LetterGroup(**{**row, "ids": tuple(row["ids"]), "hours": tuple(row["hours"])}) for row in rows]


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
    return ids, wanted.worker, wanted.error_class, wanted.text, wanted.fingerprint, wanted.upto


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
