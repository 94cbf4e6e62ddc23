"""Replays: which events of the journal they deliver again, and how far each has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson

from adapters.postgres.bus.events import COLUMNS, event_of
from adapters.postgres.pool import Pool
from schemas.envelope import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFilter:
    """Which events of the journal. None: any. *since* and *until*: when the event arrived. *keys*: of any of these."""

    types: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    keys: tuple[str, ...] | None = None
    event_id: str | None = None

    def document(self) -> str:
        """As JSON, the same for the same filter."""
        return orjson.dumps(
            {
                "types": self.types,
                "since": self.since,
                "until": self.until,
                "key": self.keys,
                "event": self.event_id,
            },
            option=orjson.OPT_SORT_KEYS,
        ).decode()


_WHERE: Final = """
    ($1::text[] IS NULL OR j.type = ANY($1)) AND ($2::timestamptz IS NULL OR j.time >= $2)
    AND ($3::timestamptz IS NULL OR j.time < $3) AND ($4::text[] IS NULL OR j.subject = ANY($4))
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

_UNFINISHED: Final = """
SELECT id, cursor, until, total, published FROM replays
WHERE worker = $1 AND filter = $2::jsonb AND finished_at IS NULL ORDER BY started_at DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class ReplayRun:
    """A replay under way. *cursor*: the journal number up to which it has published. *until*: the last one to
    publish."""

    id: str
    cursor: int
    until: int
    total: int
    published: int


def _arguments(wanted: ReplayFilter) -> tuple[object, ...]:
    types = list(wanted.types) if wanted.types is not None else None
    keys = list(wanted.keys) if wanted.keys is not None else None
    return types, wanted.since, wanted.until, keys, wanted.event_id


async def count(pool: Pool, wanted: ReplayFilter) -> tuple[int, int]:
    """(how many events of the journal fit, the journal number of the last one)."""
    row = await pool.fetchrow(_COUNT, *_arguments(wanted))
    assert row is not None
    return int(row[0]), int(row[1])


async def by_outcome(pool: Pool, worker: str, wanted: ReplayFilter) -> Mapping[str, int]:
    """How the events that fit ended for *worker* the first time; "open": not yet."""
    rows = await pool.fetch(_SPLIT, *_arguments(wanted), worker)
    return {row["outcome"]: int(row["n"]) for row in rows}


async def page(pool: Pool, wanted: ReplayFilter, after: int, until: int, limit: int) -> list[tuple[int, Event]]:
    """The next events that fit, with their journal numbers."""
    rows = await pool.fetch(_PAGE, *_arguments(wanted), after, until, limit)
    return [(row["seq"], event_of(row)) for row in rows]


async def unfinished(pool: Pool, worker: str, wanted: ReplayFilter) -> ReplayRun | None:
    """The replay of the same filter that was begun and not finished."""
    row = await pool.fetchrow(_UNFINISHED, worker, wanted.document())
    return None if row is None else ReplayRun(row["id"], row["cursor"], row["until"], row["total"], row["published"])


async def begin(pool: Pool, run: ReplayRun, worker: str, wanted: ReplayFilter) -> None:
    """Insert *run*, which begins."""
    await pool.execute(
        "INSERT INTO replays (id, worker, filter, total, until) VALUES ($1, $2, $3::jsonb, $4, $5)",
        run.id,
        worker,
        wanted.document(),
        run.total,
        run.until,
    )


async def advance(pool: Pool, run_id: str, cursor: int, published: int) -> None:
    """Record that *published* events are on the stream, up to the journal number *cursor*."""
    await pool.execute("UPDATE replays SET cursor = $2, published = $3 WHERE id = $1", run_id, cursor, published)


async def finish(pool: Pool, run_id: str) -> None:
    """Record that every event of the run is on the stream."""
    await pool.execute("UPDATE replays SET finished_at = now() WHERE id = $1", run_id)
