"""`sync_queue`, an edge's operations for its upstream: which are due, which there are, and putting them back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from adapters.postgres.pool import Connection, Pool, Record
from schemas.records.operation import Key

_COLUMNS: Final = """
q.id, q.op_id, q.operation, q.model, q.record_id, q.data::text AS data, q.user_id, q.created_at, q.synced_at, q.error,
q.retry_count, q.state, q.next_at, q.base_version, q.base::text AS base, q.changed_at, q.tick, q.origin, q.reason,
q.acked_version, q.settled
"""

# in the order of their ids, so of one record in its order; an operation that waits holds back the later ones of its
# record, and nothing else
_DUE: Final = f"""
SELECT {_COLUMNS}
FROM (SELECT * FROM sync_queue WHERE state = 'pending' AND next_at <= $2 ORDER BY id) q
LEFT JOIN LATERAL (
  SELECT true AS is_held FROM sync_queue e
  WHERE e.model = q.model AND e.record_id = q.record_id AND e.id < q.id AND NOT e.settled AND e.state = 'pending'
    AND e.next_at > $2
  LIMIT 1
) h ON true
WHERE h.is_held IS NULL ORDER BY q.id LIMIT $1
"""  # noqa: S608 - constants only
_RECORDS_OF: Final = "SELECT DISTINCT model, record_id FROM sync_queue WHERE op_id = ANY ($1::uuid[])"
_LISTED: Final = f"""
SELECT {_COLUMNS} FROM sync_queue q
WHERE q.state = ANY ($1::text[]) AND ($2::text IS NULL OR q.model = $2) ORDER BY q.id LIMIT $3
"""  # noqa: S608 - constants only
_OF_RECORD: Final = f"""
SELECT {_COLUMNS} FROM sync_queue q WHERE q.model = $1 AND q.record_id = $2 ORDER BY q.id DESC LIMIT $3
"""  # noqa: S608 - constants only

_RETRY: Final = """
UPDATE sync_queue SET state = 'pending', retry_count = 0, error = NULL, reason = NULL, synced_at = NULL, next_at = now()
WHERE state = 'failed' AND ($1::uuid IS NULL OR op_id = $1) AND ($2::text IS NULL OR model = $2)
RETURNING op_id
"""
_FAILED: Final = """
SELECT count(*) FROM sync_queue
WHERE state = 'failed' AND ($1::uuid IS NULL OR op_id = $1) AND ($2::text IS NULL OR model = $2)
"""


class QueuedRow(NamedTuple):
    """A row of the queue. *data*, *base*: JSON texts."""

    id: int
    op_id: UUID
    operation: str
    model: str
    record_id: str
    data: str | None
    user_id: str
    created_at: datetime
    synced_at: datetime | None
    error: str | None
    retry_count: int
    state: str
    next_at: datetime
    base_version: int
    base: str | None
    changed_at: datetime
    tick: int
    origin: str
    reason: str | None
    acked_version: int | None
    settled: bool


async def due(pool: Pool, limit: int, now: datetime) -> list[QueuedRow]:
    """The next *limit* operations that may go out at *now*, oldest first."""
    return [_row(one) for one in await pool.fetch(_DUE, limit, now)]


async def records_of(pool: Pool, op_ids: Sequence[UUID]) -> list[Key]:
    """The records, as (model, id), that these operations are about."""
    return [(row[0], row[1]) for row in await pool.fetch(_RECORDS_OF, list(op_ids))]


async def listed(pool: Pool, states: Sequence[str], *, model: str | None = None, limit: int = 1000) -> list[QueuedRow]:
    """The operations in these states, oldest first."""
    return [_row(one) for one in await pool.fetch(_LISTED, list(states), model, limit)]


async def of_record(pool: Pool, model: str, record_id: str, limit: int) -> list[QueuedRow]:
    """The last operations on a record that are still kept, newest first."""
    return [_row(one) for one in await pool.fetch(_OF_RECORD, model, record_id, limit)]


async def retry_failed(conn: Connection | Pool, *, op_id: UUID | None = None, model: str | None = None) -> list[UUID]:
    """Put failed operations back, under the same ids and with all their attempts. Returns which."""
    return [row[0] for row in await conn.fetch(_RETRY, op_id, model)]


async def count_failed(pool: Pool, *, op_id: UUID | None = None, model: str | None = None) -> int:
    """How many `retry_failed` would put back."""
    return int(await pool.fetchval(_FAILED, op_id, model))


def _row(found: Record) -> QueuedRow:
    return QueuedRow(*found)
