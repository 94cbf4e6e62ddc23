"""The inbox: what a worker has finished with. Its row is written in the transaction of the results themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection, Pool
from schemas.envelope import Event, InboxKey


class InboxRow(NamedTuple):
    """How a worker ended with an event. *data_hash*: of the body, to recognise another body under the same id."""

    event_id: str
    replay_id: str
    outcome: str
    reason: str | None
    attempts: int
    data_hash: bytes


# The ids are compared with ANY, not joined: a join would read the whole history, day by day, and where arrays are
# joined the server makes a new plan each time, which takes longer than the lookup. The bound on `at` leaves out the
# tables of coming days, and is wide enough for a clock that was put back.
_SEEN: Final = """
SELECT event_id, data_hash FROM inbox
WHERE event_id = ANY($3::text[]) AND worker = $1 AND replay_id = $2 AND at < now() + interval '2 days'
"""

# The key of a day's table forbids a second end on that day, whatever partitions the copies of an event came by; the
# lookup finds one of an earlier day. `epochs.current` sees to the two transactions that a midnight would part.
_INSERT: Final = """
INSERT INTO inbox (worker, event_id, replay_id, outcome, reason, attempts, data_hash)
SELECT $1, n.event_id, $2, $3, $4, $5, n.data_hash
FROM unnest($6::text[], $7::bytea[]) AS n (event_id, data_hash)
WHERE n.event_id <> ALL (ARRAY(
    SELECT i.event_id FROM inbox i
    WHERE i.event_id = ANY($6::text[]) AND i.worker = $1 AND i.replay_id = $2 AND i.at < now() + interval '2 days'))
ON CONFLICT DO NOTHING
RETURNING event_id
"""

_ATTEMPTS: Final = """
SELECT event_id, replay_id, attempts, begun FROM attempts
WHERE worker = $1 AND (event_id, replay_id) IN (SELECT * FROM unnest($2::text[], $3::text[]))
"""

_FAILED: Final = """
INSERT INTO attempts AS a
    (worker, event_id, replay_id, attempts, error_class, error_text, error_code, next_at, failures)
SELECT $1, *, 1 FROM unnest($2::text[], $3::text[], $4::int[], $5::text[], $6::text[], $7::text[], $8::timestamptz[])
ON CONFLICT (worker, event_id, replay_id) DO UPDATE
SET attempts = excluded.attempts, error_class = excluded.error_class, error_text = excluded.error_text,
    error_code = excluded.error_code, next_at = excluded.next_at, failures = a.failures + 1, updated_at = now()
"""

_FORGET: Final = """
DELETE FROM attempts
WHERE worker = $1 AND (event_id, replay_id) IN (SELECT * FROM unnest($2::text[], $3::text[]))
"""

_TAKE_OVER: Final = """
INSERT INTO attempts (worker, event_id, replay_id, attempts, error_class, error_text, next_at)
SELECT $1, *, 0, '', '', now() FROM unnest($2::text[], $3::text[])
ON CONFLICT DO NOTHING
"""

_BEGIN: Final = """
INSERT INTO attempts AS a (worker, event_id, replay_id, attempts, error_class, error_text, next_at, begun)
VALUES ($1, $2, $3, 0, '', '', now(), 1)
ON CONFLICT (worker, event_id, replay_id) DO UPDATE SET begun = a.begun + 1, updated_at = now()
RETURNING begun
"""

_SURVIVED: Final = "UPDATE attempts SET begun = 0 WHERE worker = $1 AND event_id = $2 AND replay_id = $3"

_CONFLICTS: Final = """
INSERT INTO event_conflicts (event_id, data_hash, source, data)
SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[])
ON CONFLICT DO NOTHING
"""


async def seen(pool: Pool, worker: str, events: Sequence[Event]) -> dict[InboxKey, bytes]:
    """Which of *events* *worker* has already finished with, and the hash of the body it finished with."""
    by_replay: dict[str, list[str]] = {}
    for event in events:
        by_replay.setdefault(event.replayid, []).append(event.id)
    found: dict[InboxKey, bytes] = {}
    for replay_id, ids in by_replay.items():
        for event_id, data_hash in await pool.fetch(_SEEN, worker, replay_id, ids):
            found[event_id, replay_id] = data_hash
    return found


async def insert(conn: Connection, worker: str, rows: Sequence[InboxRow]) -> set[InboxKey]:
    """Write *rows*; return the keys that were not there before. Only their results may be recorded.

    One statement for all rows that differ in their event alone, as most do: a column that is an array costs both the
    client and the server more than the lookup.
    """
    alike: dict[tuple[str, str, str | None, int], list[InboxRow]] = {}
    for row in rows:
        alike.setdefault((row.replay_id, row.outcome, row.reason, row.attempts), []).append(row)
    fresh: set[InboxKey] = set()
    for (replay_id, *ending), some in alike.items():
        ids, hashes = [row.event_id for row in some], [row.data_hash for row in some]
        fresh |= {(id, replay_id) for (id,) in await conn.fetch(_INSERT, worker, replay_id, *ending, ids, hashes)}
    return fresh


async def attempts(pool: Pool, worker: str, events: Sequence[Event]) -> dict[tuple[str, str], tuple[int, int]]:
    """(event id, replay id) -> (failed attempts, times begun and not survived), for those of *events* that have a row:
    they have failed, or were taken over before."""
    rows = await pool.fetch(_ATTEMPTS, worker, [e.id for e in events], [e.replayid for e in events])
    return {(row["event_id"], row["replay_id"]): (row["attempts"], row["begun"]) for row in rows}


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt of an event that will be tried again at *next_at*. *attempts*: those that counted so far."""

    event_id: str
    replay_id: str
    attempts: int
    error_class: str
    error_text: str
    error_code: str
    next_at: object


async def failed(conn: Connection, worker: str, failures: Sequence[Failure]) -> None:
    """Count failed attempts. One row per event: its last error, and how many attempts failed, counted or not."""
    await conn.execute(
        _FAILED,
        worker,
        [f.event_id for f in failures],
        [f.replay_id for f in failures],
        [f.attempts for f in failures],
        [f.error_class for f in failures],
        [f.error_text for f in failures],
        [f.error_code for f in failures],
        [f.next_at for f in failures],
    )


async def take_over(pool: Pool, worker: str, events: Sequence[Event]) -> None:
    """Record that *events* were found pending, read before and not ended: `attempts` will tell at the next time."""
    if events:
        await pool.execute(_TAKE_OVER, worker, [e.id for e in events], [e.replayid for e in events])


async def begin(pool: Pool, worker: str, event: Event) -> int:
    """Record that *event* is being begun; returns how often it was begun since the last `survived`."""
    return int(await pool.fetchval(_BEGIN, worker, event.id, event.replayid))


async def survived(pool: Pool, worker: str, event: Event) -> None:
    """Record that handling *event* did not kill the process."""
    await pool.execute(_SURVIVED, worker, event.id, event.replayid)


async def forget_attempts(conn: Connection, worker: str, ids: Sequence[tuple[str, str]]) -> None:
    """Drop the counted attempts of events that have ended."""
    await conn.execute(_FORGET, worker, [i[0] for i in ids], [i[1] for i in ids])


async def conflicts(pool: Pool, found: Sequence[tuple[Event, bytes]]) -> None:
    """Keep bodies that came under the id of an event with another body. *found*: (event, hash of its body)."""
    await pool.execute(
        _CONFLICTS,
        [e.id for e, _ in found],
        [h for _, h in found],
        [e.source for e, _ in found],
        [e.data.decode(errors="replace") for e, _ in found],
    )
