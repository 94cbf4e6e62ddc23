"""The counts that prove that no accepted event is lost or counted twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from adapters.postgres.bus.workers import Registered
from adapters.postgres.pool import Pool

SAMPLE: Final = 20


@dataclass(frozen=True, slots=True)
class Sums:
    """Events by how they ended for one worker; *open*: accepted and not ended."""

    accepted: int
    done: int
    skipped: int
    dead: int
    uncertain: int
    open: int


# An accepted event is in the journal, in the spool, or in the inbox of a worker that was faster than the journal.
_SUMS: Final = """
WITH known AS (
    SELECT id FROM event_journal WHERE type = ANY($2::text[]) AND time >= $3
    UNION SELECT id FROM spool WHERE type = ANY($2::text[]) AND time >= $3
    UNION SELECT event_id FROM inbox WHERE worker = $1 AND replay_id = ''
)
SELECT count(*) AS accepted,
       count(*) FILTER (WHERE i.outcome = 'done') AS done,
       count(*) FILTER (WHERE i.outcome = 'skipped') AS skipped,
       count(*) FILTER (WHERE i.outcome = 'dead') AS dead,
       count(*) FILTER (WHERE i.outcome = 'uncertain') AS uncertain,
       count(*) FILTER (WHERE i.outcome IS NULL) AS open
FROM known k
LEFT JOIN inbox i ON i.event_id = k.id AND i.worker = $1 AND i.replay_id = ''
"""

_TWICE: Final = """
SELECT event_id FROM inbox WHERE worker = $1 GROUP BY event_id, replay_id HAVING count(*) > 1 ORDER BY 1 LIMIT $2
"""

_DEAD_WITHOUT_LETTER: Final = """
SELECT i.event_id FROM inbox i
WHERE i.worker = $1 AND i.outcome = 'dead' AND NOT EXISTS (
    SELECT FROM dead_letters d
    WHERE d.worker = i.worker AND d.event_id = i.event_id AND d.replay_id = i.replay_id)
ORDER BY 1 LIMIT $2
"""

# The ends of a day are dropped with the day; a letter stays until an operator settles it.
_LETTER_NOT_DEAD: Final = """
SELECT d.event_id FROM dead_letters d
WHERE d.worker = $1 AND d.state = 'open' AND d.buried_at >= coalesce((
    SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD'))::timestamp AT TIME ZONE 'UTC'
    FROM pg_inherits p JOIN pg_class c ON c.oid = p.inhrelid
    WHERE p.inhparent = to_regclass('inbox') AND c.relname ~ '_p\\d{8}$'), '-infinity') AND NOT EXISTS (
    SELECT FROM inbox i
    WHERE i.worker = d.worker AND i.event_id = d.event_id AND i.replay_id = d.replay_id AND i.outcome = 'dead')
ORDER BY 1 LIMIT $2
"""

# The journal worker ended with the event, but the journal does not have it.
_NOT_JOURNALED: Final = """
SELECT i.event_id FROM inbox i
WHERE i.worker = 'journal' AND i.outcome = 'done' AND $1 = 'journal'
  AND NOT EXISTS (SELECT FROM event_journal j WHERE j.id = i.event_id)
ORDER BY 1 LIMIT $2
"""

CHECKS: Final = {
    "ended twice": _TWICE,
    "dead without a dead letter": _DEAD_WITHOUT_LETTER,
    "a dead letter without its end": _LETTER_NOT_DEAD,
    "done and not in the journal": _NOT_JOURNALED,
}
"""Fault -> the query that finds the events with it. No query may ever find one."""


async def sums(pool: Pool, worker: Registered) -> Sums:
    """How the events of *worker* ended."""
    row = await pool.fetchrow(_SUMS, worker.name, worker.types, worker.since)
    assert row is not None
    return Sums(**dict(row))


async def anomalies(pool: Pool, worker: str) -> dict[str, list[str]]:
    """Fault -> the first event ids of *worker* that show it; {} when all is well."""
    found = {}
    for fault, query in CHECKS.items():
        if rows := await pool.fetch(query, worker, SAMPLE):
            found[fault] = [row["event_id"] for row in rows]
    return found
