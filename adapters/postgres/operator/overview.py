"""The numbers of the overview: the flow of the last hour, what waits, and what needs a person. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.pool import Pool


class FlowMinute(NamedTuple):
    """*n* of *name* (a source, or a worker) in a minute."""

    minute: datetime
    direction: str
    name: str
    outcome: str
    n: int


class LagMinute(NamedTuple):
    """What waited for *worker* when it was measured last in a minute."""

    minute: datetime
    worker: str
    at: datetime
    unread: int
    pending: int
    oldest_s: float


class Need(NamedTuple):
    """*n* of *kind* want a person. *oldest*: since when the first of them does."""

    kind: str
    n: int
    oldest: datetime | None


_FLOW: Final = """
SELECT minute, direction, name, outcome, n FROM flow_minutes
WHERE minute > date_trunc('minute', now()) - make_interval(mins => $1) ORDER BY minute
"""
_LAGS: Final = """
SELECT minute, worker, at, unread, pending, oldest_s FROM lag_minutes
WHERE minute > date_trunc('minute', now()) - make_interval(mins => $1) ORDER BY minute
"""
# Each by an index that holds only what is wanted.
_NEEDS: Final = """
SELECT 'uncertain', count(*), min(created_at) FROM messages WHERE status = 'uncertain'
UNION ALL SELECT 'record conflicts', count(*), min(created_at) FROM sync_conflicts WHERE decision IS NULL
UNION ALL SELECT 'record operations', count(*), min(created_at) FROM sync_queue WHERE state = 'failed'
UNION ALL SELECT 'conversations', count(*), min(escalated_at) FROM conversations WHERE escalated_at IS NOT NULL
UNION ALL SELECT 'orders', count(*), min(cgb_sync_attempted_at) FROM orders WHERE cgb_sync_status = 'failed'
UNION ALL SELECT 'unmapped', count(DISTINCT line), NULL FROM meeting_notes WHERE user_id IS NULL
UNION ALL SELECT 'archive', count(*), min(created_at) FROM note_attachments WHERE status = 'error'
"""
_STORES: Final = """
SELECT (SELECT count(*) FROM spool), (SELECT min(spooled_at) FROM spool),
    (SELECT count(*) FROM outbox), (SELECT min(created_at) FROM outbox)
"""


class Stored(NamedTuple):
    """Events that are not on a stream yet, and since when."""

    spool: int
    spool_since: datetime | None
    outbox: int
    outbox_since: datetime | None


async def flow(pool: Pool, minutes: int) -> list[FlowMinute]:
    """What went in and out in the last *minutes*."""
    return [FlowMinute(*row) for row in await pool.fetch(_FLOW, minutes)]


async def lags(pool: Pool, minutes: int) -> list[LagMinute]:
    """What waited in the last *minutes*, oldest first."""
    return [LagMinute(*row) for row in await pool.fetch(_LAGS, minutes)]


async def needs(pool: Pool) -> Sequence[Need]:
    """What needs a person, of each kind that the tables know."""
    return [Need(*row) for row in await pool.fetch(_NEEDS)]


async def stored(pool: Pool) -> Stored:
    """What is not on a stream yet."""
    row = await pool.fetchrow(_STORES)
    assert row is not None, "the query answers one row"
    return Stored(*row)
