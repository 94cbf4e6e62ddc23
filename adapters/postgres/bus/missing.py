"""Events of the journal that some worker has not ended with: after a loss they are published again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.postgres.bus.events import COLUMNS, event_of
from adapters.postgres.bus.workers import Registered, by_type
from adapters.postgres.pool import Connection, Pool
from schemas.envelope import Event

STRETCH: Final = 5_000
"""Events that one statement looks at, so that no statement comes near the time limit of a command, however long the
journal is."""

# One row for every event that some worker of $1 (with its type in $2) has not ended with, in the order of the journal.
# Nearly all events end within a day of their arrival: only those without an end in these days are looked up in all.
_MISSING: Final = f"""
WITH candidates AS MATERIALIZED (
    SELECT j.seq, j.id, w.worker
    FROM event_journal j
    JOIN unnest($1::text[], $2::text[], $8::timestamptz[]) AS w (worker, type, since)
        ON w.type = j.type AND j.time >= w.since
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


async def events(
    conn: Connection | Pool, workers: Sequence[Registered], after: int, *, days: int, limit: int
) -> list[tuple[int, Event]]:
    """The first *limit* events behind journal number *after*, of the last *days*, that some worker has not ended with,
    with their numbers; [] when there are no more.
    """
    names, handled, since = by_type(workers)
    while True:
        stretch = await conn.fetchrow(_STRETCH, after, days, STRETCH)
        if stretch is None or stretch["until"] is None:
            return []
        until, first, last = stretch
        if rows := await conn.fetch(_MISSING, names, handled, after, until, first, last, limit, since):
            return [(row["seq"], event_of(row)) for row in rows]
        after = until
