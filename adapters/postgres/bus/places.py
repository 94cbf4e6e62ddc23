"""Where open events stand on their streams, as the journal knows it: what a loss of Redis is found by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from adapters.postgres.bus.workers import Registered, by_type
from adapters.postgres.pool import Connection, Pool

COMPARED: Final = "compared"
"""The key in ferryman_meta: up to this number of the journal all events had ended, or had places on other streams."""

GRACE_S: Final = 1.0
"""The journal is followed up to this long ago: a row with a smaller number may be committed after a larger one."""

STRETCH: Final = 5_000
"""Events of the journal that one statement looks at."""


class Place(NamedTuple):
    """An open event: its number in the journal, its id, its type and subject, which name its stream, and its entry
    there."""

    seq: int
    event_id: str
    type: str
    subject: str
    entry_id: str


# Nearly all events end within a day of their arrival: only those without an end in these days are looked up in all. A
# dead letter that was retried is open again, and not at its old place: an operator has it in hand.
_OPEN: Final = """
WITH candidates AS MATERIALIZED (
    SELECT j.seq, j.id, j.type, j.subject, j.entry_id, w.worker
    FROM event_journal j
    JOIN unnest($1::text[], $2::text[], $3::timestamptz[]) AS w (worker, type, since)
        ON w.type = j.type AND j.time >= w.since
    WHERE {chosen} AND j.recorded_at > now() - make_interval(days => $4) AND j.entry_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM inbox i WHERE i.event_id = j.id AND i.worker = w.worker AND i.replay_id = ''
        AND i.at BETWEEN j.recorded_at - interval '1 day' AND j.recorded_at + interval '1 day'))
SELECT DISTINCT seq, id, type, subject, entry_id FROM candidates c
WHERE (SELECT true FROM inbox i WHERE i.event_id = c.id AND i.worker = c.worker AND i.replay_id = '' LIMIT 1) IS NULL
    AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.event_id = c.id AND d.worker = c.worker)
ORDER BY 1
"""
_BETWEEN: Final = _OPEN.format(chosen="j.seq > $5 AND j.seq <= $6")
_THESE: Final = _OPEN.format(chosen="j.seq = ANY($5::bigint[])")
_UNTIL: Final = """
SELECT max(seq) FROM (
    SELECT seq FROM event_journal WHERE seq > $1 AND recorded_at <= now() - make_interval(secs => $3)
    ORDER BY seq LIMIT $2) AS stretch
"""
_OLDEST_OF_LAST: Final = """
SELECT entry_id FROM (SELECT entry_id FROM event_journal WHERE entry_id IS NOT NULL ORDER BY seq DESC LIMIT $1) AS last
ORDER BY split_part(entry_id, '-', 1)::bigint LIMIT 1
"""
_MOVED: Final = """
UPDATE event_journal j SET entry_id = n.entry_id
FROM unnest($1::text[], $2::text[]) AS n (id, entry_id) WHERE j.id = n.id
"""


async def open_behind(
    pool: Pool, workers: Sequence[Registered], after: int, *, days: int, settled: bool = True
) -> tuple[int, list[Place]]:
    """(the last number of the stretch of the journal behind number *after*, what of the last *days* is open in it);
    *after* itself at the journal's end. *settled*: only up to where no smaller number can be committed any more."""
    until = await pool.fetchval(_UNTIL, after, STRETCH, GRACE_S if settled else 0.0)
    if until is None:
        return after, []
    rows = await pool.fetch(_BETWEEN, *by_type(workers), days, after, until)
    return int(until), [Place(*row) for row in rows]


async def still_open(pool: Pool, workers: Sequence[Registered], seqs: Sequence[int], *, days: int) -> list[Place]:
    """Of the events *seqs* those that are open and not older than *days*."""
    return [Place(*row) for row in await pool.fetch(_THESE, *by_type(workers), days, list(seqs))]


async def last(conn: Connection | Pool) -> int:
    """The last number of the journal; 0: it is empty."""
    return int(await conn.fetchval("SELECT coalesce(max(seq), 0) FROM event_journal"))


async def moved(pool: Pool, entries: Sequence[tuple[str, str]]) -> None:
    """The events of *entries* (event id, entry id) stand at new places."""
    await pool.execute(_MOVED, [event_id for event_id, _ in entries], [entry_id for _, entry_id in entries])


async def oldest_of_last(pool: Pool, number: int) -> str | None:
    """The least entry id among the *number* newest events of the journal. None: the journal knows no entries."""
    found: str | None = await pool.fetchval(_OLDEST_OF_LAST, number)
    return found
