"""The trail of an event: where it is stored, and how each worker ended with it. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from adapters.postgres.bus.events import COLUMNS, event_of
from adapters.postgres.pool import Pool
from schemas.envelope import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events; None: any. *outcome*: how *worker*, or any worker, ended with the event; "open": it has not ended.
    *since*: the event arrived then or later. *event*: the event with this id, and what handling it emitted."""

    type: str | None = None
    source: str | None = None
    worker: str | None = None
    outcome: str | None = None
    key: str | None = None
    since: datetime | None = None
    event: str | None = None


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event without its data. *place*: journal; spool or outbox while it is not on the stream; dead letter."""

    id: str
    type: str
    source: str
    key: str
    time: datetime
    place: str


@dataclass(frozen=True, slots=True)
class WorkerEnding:
    """How *worker* ended with an event. *replay_id*: of the replay that delivered it, "" the first time."""

    event_id: str
    worker: str
    replay_id: str
    outcome: str
    reason: str | None
    attempts: int
    at: datetime


@dataclass(frozen=True, slots=True)
class FailedAttempts:
    """How often a worker that has not ended with an event has failed with it, and the last error. *attempts*: those
    that counted; *failures*: all of them, while the channel answered nothing as well. *at*: of the last failure.
    *next_at*: of the next attempt."""

    worker: str
    replay_id: str
    attempts: int
    error_class: str
    error_text: str
    next_at: datetime
    at: datetime
    failures: int
    error_code: str


_LIST: Final = """
WITH handles AS (SELECT * FROM unnest($1::text[], $2::text[]) AS h (worker, type))
SELECT id, type, source, subject, time, 'journal' AS place FROM event_journal j
WHERE {where} ORDER BY seq DESC LIMIT $3
"""
# One condition for each part of a filter: a query contains only those that its filter names, for the planner.
_CONDITIONS: Final[Mapping[str, str]] = {
    "type": "j.type = {n}",
    "source": "j.source = {n}",
    "key": "j.subject = {n}",
    "since": "j.time >= {n}",
    "event": "(j.id = {n} OR j.causationid = {n})",
    "worker": "j.type IN (SELECT type FROM handles WHERE worker = {n})",
}
_DONE: Final = """
EXISTS (SELECT FROM inbox i WHERE i.event_id = j.id AND i.replay_id = '' AND i.outcome = {n}
    AND ({w}::text IS NULL OR i.worker = {w}))
"""
# Few events end like this: their ids are collected first, instead of probing the inbox for each event of the journal.
_ENDED_AS: Final = """
j.id = ANY (ARRAY(
    SELECT event_id FROM inbox WHERE replay_id = '' AND outcome = {n} AND ({w}::text IS NULL OR worker = {w})))
"""
_NOT_ENDED: Final = """
{n} = 'open' AND j.id = ANY (ARRAY(
    SELECT k.id FROM event_journal k JOIN handles h USING (type)
    WHERE ({w}::text IS NULL OR h.worker = {w}) AND NOT EXISTS (
        SELECT FROM inbox i WHERE i.event_id = k.id AND i.worker = h.worker AND i.replay_id = '')))
"""
_WAITING: Final = """
SELECT id, type, source, subject, time, place FROM (
    SELECT seq, id, type, source, subject, time, causationid, 'spool' AS place FROM spool
    UNION ALL SELECT seq, id, type, source, subject, time, causationid, 'outbox' FROM outbox WHERE target = '') AS w
WHERE ($1::text IS NULL OR type = $1) AND ($2::text IS NULL OR source = $2) AND ($3::text IS NULL OR subject = $3)
  AND ($4::timestamptz IS NULL OR time >= $4) AND ($6::text IS NULL OR id = $6 OR causationid = $6)
ORDER BY time DESC, seq DESC LIMIT $5
"""
_FIND: Final = """
SELECT DISTINCT ON (id) id, type, source, subject, time, place FROM (
    SELECT id, type, source, subject, time, 'journal' AS place, 1 AS rank FROM event_journal WHERE {which}
    UNION ALL SELECT id, type, source, subject, time, 'spool', 2 FROM spool WHERE {which}
    UNION ALL SELECT id, type, source, subject, time, 'outbox', 3 FROM outbox WHERE {which}
    UNION ALL SELECT event_id, type, source, subject, time, 'dead letter', 4 FROM dead_letters WHERE {letter}
) AS found ORDER BY id, rank LIMIT $2
"""
_BY_ID: Final = _FIND.format(which="id = ANY($1::text[])", letter="event_id = ANY($1::text[])")
_BY_KEY: Final = _FIND.format(which="subject = ANY($1::text[])", letter="subject = ANY($1::text[])")
_BY_PREFIX: Final = _FIND.format(which="id BETWEEN $1 AND $3", letter="event_id BETWEEN $1 AND $3")
_UUIDS: Final = tuple("-".join(digit * n for n in (8, 4, 4, 4, 12)) for digit in "0f")
_BY_CAUSE: Final = """
SELECT id, type, source, subject, time, 'journal' AS place FROM event_journal WHERE causationid = $1
UNION ALL SELECT id, type, source, subject, time, 'outbox' FROM outbox WHERE causationid = $1 AND target = ''
ORDER BY time LIMIT $2
"""
_WHOLE: Final = f"""
SELECT {COLUMNS}, recorded_at FROM event_journal WHERE id = $1
UNION ALL SELECT {COLUMNS}, NULL FROM spool WHERE id = $1
UNION ALL SELECT {COLUMNS}, NULL FROM outbox WHERE id = $1
UNION ALL SELECT event_id, type, source, subject, time, data, traceparent, causationid, schemaversion, NULL
    FROM dead_letters WHERE event_id = $1
LIMIT 1
"""  # noqa: S608 - constants only
_DATA: Final = """
SELECT DISTINCT ON (id) id, data FROM (
    SELECT id, data, 1 AS rank FROM event_journal WHERE id = ANY($1::text[])
    UNION ALL SELECT id, data, 2 FROM spool WHERE id = ANY($1::text[])
    UNION ALL SELECT id, data, 3 FROM outbox WHERE id = ANY($1::text[])
    UNION ALL SELECT event_id, data, 4 FROM dead_letters WHERE event_id = ANY($1::text[])
) AS kept ORDER BY id, rank
"""
_ENDINGS: Final = """
SELECT event_id, worker, replay_id, outcome, reason, attempts, at FROM inbox WHERE event_id = ANY($1::text[]) ORDER BY
at
"""
_ATTEMPTS: Final = """
SELECT worker, replay_id, attempts, error_class, error_text, next_at, updated_at, greatest(failures, attempts),
    error_code
FROM attempts WHERE event_id = $1 AND error_class <> ''
ORDER BY updated_at
"""
# What a worker has put off says so in a row of its own; few rows wait, and their index begins with the status.
_PUT_OFF: Final = """
SELECT 'applicant-issues', reason FROM applicant_issues WHERE status = 'waiting' AND event_id = $1
"""
_CONFLICTS: Final = "SELECT count(*) FROM event_conflicts WHERE event_id = $1"
_NEWEST: Final = "SELECT coalesce(max(seq), 0) AS seq, clock_timestamp() AS at FROM event_journal"
_ARRIVED: Final = """
SELECT id, type, source, subject, time, 'journal', seq FROM event_journal WHERE seq > $1 ORDER BY seq LIMIT $2
"""
_ENDED: Final = """
SELECT event_id, worker, replay_id, outcome, reason, attempts, at FROM inbox
WHERE at > $1 AND worker <> 'journal' ORDER BY at LIMIT $2
"""


async def listed(pool: Pool, wanted: EventFilter, handles: Mapping[str, Sequence[str]], limit: int) -> list[FoundEvent]:
    """The newest events that fit, newest first. Those not yet on the stream come before the others, and only where the
    filter admits open events of any worker. *handles*: worker -> the types it handles."""
    waiting = []
    if wanted.worker is None and wanted.outcome in (None, "open"):
        rows = await pool.fetch(_WAITING, wanted.type, wanted.source, wanted.key, wanted.since, limit, wanted.event)
        waiting = [FoundEvent(*row) for row in rows]
    query, arguments = _query(wanted)
    pairs = [(worker, type_) for worker, types in handles.items() for type_ in types]
    rows = await pool.fetch(query, [p[0] for p in pairs], [p[1] for p in pairs], limit, *arguments, timeout=30)
    seen = {row["id"] for row in rows}
    return [*(found for found in waiting if found.id not in seen), *(FoundEvent(*row) for row in rows)][:limit]


def _query(wanted: EventFilter) -> tuple[str, list[object]]:
    """The query of *wanted*, and its arguments from $4 on."""
    arguments: list[object] = []
    conditions = ["true"]
    for name, condition in _CONDITIONS.items():
        if (value := getattr(wanted, name)) is not None:
            arguments.append(value)
            conditions.append(condition.format(n=f"${len(arguments) + 3}"))
    if wanted.outcome is not None:
        arguments += [wanted.outcome, wanted.worker]
        condition = {"open": _NOT_ENDED, "done": _DONE}.get(wanted.outcome, _ENDED_AS)
        conditions.append(condition.format(n=f"${len(arguments) + 2}", w=f"${len(arguments) + 3}"))
    return _LIST.format(where=" AND ".join(conditions)), arguments


async def by_ids(pool: Pool, ids: Sequence[str], limit: int) -> list[FoundEvent]:
    """The events with these ids, wherever they are stored."""
    return [FoundEvent(*row) for row in await pool.fetch(_BY_ID, ids, limit)]


async def by_prefix(pool: Pool, prefix: str, limit: int) -> list[FoundEvent]:
    """The events whose ids begin with *prefix*, the beginning of a UUID in lower case."""
    # a range of whole UUIDs: any collation sorts these alike, so the primary key serves
    low, high = (prefix + form[len(prefix) :] for form in _UUIDS)
    return [FoundEvent(*row) for row in await pool.fetch(_BY_PREFIX, low, limit, high)]


async def by_keys(pool: Pool, keys: Sequence[str], limit: int) -> list[FoundEvent]:
    """The events of these keys, in the order of their times."""
    found = [FoundEvent(*row) for row in await pool.fetch(_BY_KEY, keys, limit)]
    return sorted(found, key=lambda one: one.time)


async def caused(pool: Pool, event_id: str, limit: int) -> list[FoundEvent]:
    """The events that were emitted by handling this one."""
    return [FoundEvent(*row) for row in await pool.fetch(_BY_CAUSE, event_id, limit)]


async def whole(pool: Pool, event_id: str) -> tuple[Event, datetime | None] | None:
    """The event with its data, and when it was journaled."""
    row = await pool.fetchrow(_WHOLE, event_id)
    return None if row is None else (event_of(row), row["recorded_at"])


async def data_of(pool: Pool, ids: Sequence[str]) -> dict[str, bytes]:
    """The data of these events, by their ids, wherever they are stored."""
    return {row["id"]: row["data"].encode() for row in await pool.fetch(_DATA, ids)}


async def endings(pool: Pool, ids: Sequence[str]) -> list[WorkerEnding]:
    """How workers ended with these events, earliest first."""
    return [WorkerEnding(*row) for row in await pool.fetch(_ENDINGS, ids)]


async def attempts(pool: Pool, event_id: str) -> list[FailedAttempts]:
    """The failed attempts of workers that have not ended with the event."""
    return [FailedAttempts(*row) for row in await pool.fetch(_ATTEMPTS, event_id)]


async def conflicts(pool: Pool, event_id: str) -> int:
    """How many other bodies arrived under this id."""
    return int(await pool.fetchval(_CONFLICTS, event_id))


async def put_off(pool: Pool, event_id: str) -> dict[str, str]:
    """Worker -> what it waits for before it goes on with the event, where it has put it off."""
    return {row[0]: row[1] for row in await pool.fetch(_PUT_OFF, event_id)}


async def newest(pool: Pool) -> tuple[int, datetime]:
    """(the last number of the journal, the database's clock)."""
    row = await pool.fetchrow(_NEWEST)
    assert row is not None
    return row["seq"], row["at"]


async def arrived(pool: Pool, after: int, limit: int) -> list[tuple[int, FoundEvent]]:
    """Events with a journal number above *after*, with their numbers. A number may become visible after a later one."""
    rows = await pool.fetch(_ARRIVED, after, limit)
    return [(row["seq"], FoundEvent(*tuple(row)[:6])) for row in rows]


async def ended(pool: Pool, after: datetime, limit: int) -> list[WorkerEnding]:
    """Endings later than *after*, but the journal worker's. An ending may become visible after a later one."""
    return [WorkerEnding(*row) for row in await pool.fetch(_ENDED, after, limit)]
