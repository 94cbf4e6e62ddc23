"""What can be delivered again: the journal, compared with what the inbox shows as ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson

from adapters.postgres.bus.events import COLUMNS, event_of
from adapters.postgres.pool import Connection, Pool
from schemas.envelope import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events of the journal. None: any. *since* and *until*: when the event arrived."""

    types: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    key: str | None = None
    event_id: str | None = None

    def document(self) -> str:
        """As JSON, the same for the same filter."""
        return orjson.dumps(
            {
                "types": self.types,
                "since": self.since,
                "until": self.until,
                "key": self.key,
                "event": self.event_id,
            },
            option=orjson.OPT_SORT_KEYS,
        ).decode()


_WHERE: Final = """
    ($1::text[] IS NULL OR j.type = ANY($1)) AND ($2::timestamptz IS NULL OR j.time >= $2)
    AND ($3::timestamptz IS NULL OR j.time < $3) AND ($4::text IS NULL OR j.subject = $4)
    AND ($5::text IS NULL OR j.id = $5)
"""
_COUNT: Final = f"SELECT count(*), coalesce(max(seq), 0) FROM event_journal j WHERE {_WHERE}"  # noqa: S608 - constants
_PAGE: Final = f"""
SELECT seq, {COLUMNS} FROM event_journal j WHERE {_WHERE} AND j.seq > $6 AND j.seq <= $7 ORDER BY j.seq LIMIT $8
"""  # noqa: S608 - constants
_SPLIT: Final = f"""
SELECT coalesce(i.outcome, 'open') AS outcome, count(*) AS n
FROM event_journal j LEFT JOIN inbox i ON i.event_id = j.id AND i.worker = $6 AND i.replay_id = ''
WHERE {_WHERE} GROUP BY 1
"""  # noqa: S608 - constants

# Of every event that some worker of $1 (with its type in $2) has not ended with, one row, in the order of the journal.
# Nearly all have ended within a day of their arrival: what is not among those days' ends is looked for in all of them.
_MISSING: Final = f"""
WITH candidates AS MATERIALIZED (
    SELECT j.seq, j.id, w.worker
    FROM event_journal j JOIN unnest($1::text[], $2::text[]) AS w (worker, type) ON w.type = j.type
    WHERE j.seq > $3 AND j.seq <= $4 AND j.recorded_at BETWEEN $5 AND $6 AND NOT EXISTS (
        SELECT FROM inbox i WHERE i.event_id = j.id AND i.worker = w.worker AND i.replay_id = ''
        AND i.at BETWEEN $5 - interval '1 day' AND $6 + interval '1 day')),
open AS MATERIALIZED (
    SELECT DISTINCT seq FROM candidates c WHERE (
        SELECT true FROM inbox i WHERE i.event_id = c.id AND i.worker = c.worker AND i.replay_id = '' LIMIT 1) IS NULL
    ORDER BY seq LIMIT $7)
SELECT seq, {COLUMNS} FROM event_journal
WHERE seq = ANY(ARRAY(SELECT seq FROM open)) AND recorded_at BETWEEN $5 AND $6 ORDER BY seq
"""  # noqa: S608 - constants only
_STRETCH: Final = """
SELECT max(seq) AS until, min(recorded_at) AS first, max(recorded_at) AS last FROM (
    SELECT seq, recorded_at FROM event_journal WHERE seq > $1 AND recorded_at > now() - make_interval(days => $2)
    ORDER BY seq LIMIT $3) AS stretch
"""

STRETCH: Final = 5_000
"""Events that one statement looks at: however long the journal is, none comes near the time limit of a command."""

_UNFINISHED: Final = """
SELECT id, cursor, until, total, published FROM replays
WHERE worker = $1 AND filter = $2::jsonb AND finished_at IS NULL ORDER BY started_at DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A replay under way: *cursor* is the journal number up to which it has published, *until* the last one."""

    id: str
    cursor: int
    until: int
    total: int
    published: int


def _arguments(chosen: Filter) -> tuple[object, ...]:
    types = list(chosen.types) if chosen.types is not None else None
    return types, chosen.since, chosen.until, chosen.key, chosen.event_id


async def count(pool: Pool, chosen: Filter) -> tuple[int, int]:
    """(how many events of the journal fit, the journal number of the last one)."""
    row = await pool.fetchrow(_COUNT, *_arguments(chosen))
    assert row is not None
    return int(row[0]), int(row[1])


async def by_outcome(pool: Pool, worker: str, chosen: Filter) -> Mapping[str, int]:
    """How the events that fit ended for *worker* the first time; "open": not yet."""
    rows = await pool.fetch(_SPLIT, *_arguments(chosen), worker)
    return {row["outcome"]: int(row["n"]) for row in rows}


async def page(pool: Pool, chosen: Filter, after: int, until: int, limit: int) -> list[tuple[int, Event]]:
    """The next events that fit, with their journal numbers."""
    rows = await pool.fetch(_PAGE, *_arguments(chosen), after, until, limit)
    return [(row["seq"], event_of(row)) for row in rows]


async def missing(
    conn: Connection | Pool, workers: Mapping[str, Sequence[str]], after: int, *, days: int, limit: int
) -> list[tuple[int, Event]]:
    """The next events of the last *days* that some worker has not ended with; none when there are no more.

    *workers*: name -> the types it handles. The journal is looked through in stretches.
    """
    pairs = [(worker, type_) for worker, types in workers.items() for type_ in types]
    names, handled = [p[0] for p in pairs], [p[1] for p in pairs]
    while True:
        stretch = await conn.fetchrow(_STRETCH, after, days, STRETCH)
        if stretch is None or stretch["until"] is None:
            return []
        until, first, last = stretch
        if rows := await conn.fetch(_MISSING, names, handled, after, until, first, last, limit):
            return [(row["seq"], event_of(row)) for row in rows]
        after = until


async def unfinished(pool: Pool, worker: str, chosen: Filter) -> Run | None:
    """The same replay, begun before and not finished."""
    row = await pool.fetchrow(_UNFINISHED, worker, chosen.document())
    return None if row is None else Run(row["id"], row["cursor"], row["until"], row["total"], row["published"])


async def begin(pool: Pool, run: Run, worker: str, chosen: Filter) -> None:
    """Write down that *run* begins."""
    await pool.execute(
        "INSERT INTO replays (id, worker, filter, total, until) VALUES ($1, $2, $3::jsonb, $4, $5)",
        run.id,
        worker,
        chosen.document(),
        run.total,
        run.until,
    )


async def advance(pool: Pool, run_id: str, cursor: int, published: int) -> None:
    """*published* events are on the stream, up to the journal number *cursor*."""
    await pool.execute("UPDATE replays SET cursor = $2, published = $3 WHERE id = $1", run_id, cursor, published)


async def finish(pool: Pool, run_id: str) -> None:
    """Everything is on the stream."""
    await pool.execute("UPDATE replays SET finished_at = now() WHERE id = $1", run_id)
