"""`sync_upstream`: what an edge remembers of its upstream, and a copy of its rows that is built anew."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from adapters.postgres.pool import Connection, Pool
from schemas.records.operation import Key

_READ: Final = """
SELECT replica, ack, cursor, rebuilding, rebuild_reason, generation, step, online, last_sync_at, last_error
FROM sync_upstream
"""

_HEARD: Final = """
UPDATE sync_upstream SET online = $1,
  last_error = CASE WHEN $2::text IS NULL AND $1 THEN NULL ELSE COALESCE($2, last_error) END,
  last_sync_at = CASE WHEN $3 THEN now() ELSE last_sync_at END
WHERE $3 OR online IS DISTINCT FROM $1 OR $2 IS DISTINCT FROM last_error
"""
_NAMED: Final = """
UPDATE sync_upstream SET ack = NULL, url = $1, step = step + 1,
  replica = CASE WHEN url IS NULL THEN replica ELSE gen_random_uuid() END
WHERE url IS DISTINCT FROM $1
"""
_BEGIN_REBUILD: Final = """
WITH s AS (
  UPDATE sync_upstream SET step = step + 1, rebuilding = '', rebuild_reason = $1 WHERE rebuilding IS NULL RETURNING 1)
DELETE FROM sync_seen WHERE EXISTS (SELECT FROM s)
"""
_END_REBUILD: Final = """
WITH s AS (
  UPDATE sync_upstream SET step = step + 1, cursor = NULLIF(rebuilding, ''), rebuilding = NULL, rebuild_reason = NULL,
    generation = generation + 1
  WHERE rebuilding IS NOT NULL RETURNING 1)
DELETE FROM sync_seen WHERE EXISTS (SELECT FROM s)
"""
# those that came from the upstream, or of which an operation says that it has them
_UNSEEN: Final = """
SELECT model, record_id FROM records r
WHERE (model, record_id) > ($1, $2)
  AND (up_version IS NOT NULL AND NOT deleted OR EXISTS (
    SELECT FROM sync_queue q WHERE (q.model, q.record_id) = (r.model, r.record_id) AND NOT q.settled
      AND q.state IN ('synced', 'conflict')))
  AND NOT EXISTS (SELECT FROM sync_seen n WHERE (n.model, n.record_id) = (r.model, r.record_id))
ORDER BY model, record_id LIMIT $3
"""
_RENEW: Final = "UPDATE sync_upstream SET replica = gen_random_uuid(), ack = NULL, step = step + 1"
_FEED: Final = "SELECT feed FROM sync_clock"


class Standing(NamedTuple):
    """What is known of the upstream: the row of `sync_upstream`."""

    replica: UUID
    ack: str | None
    cursor: str | None
    rebuilding: str | None
    rebuild_reason: str | None
    generation: int
    step: int
    online: bool | None
    last_sync_at: datetime | None
    last_error: str | None


async def read(pool: Pool) -> Standing:
    """What is known of the upstream."""
    row = await pool.fetchrow(_READ)
    assert row is not None
    return Standing(*row)


async def heard(pool: Pool, *, online: bool, error: str | None, complete: bool = False) -> None:
    """Remember how the last exchange went. *error*: as one sentence. *complete*: a whole round has ended."""
    await pool.execute(_HEARD, online, error, complete)


async def named(pool: Pool, url: str) -> None:
    """Remember where the upstream is. One at another address does not know what that before has acknowledged: there
    this edge is a replica of another name."""
    await pool.execute(_NAMED, url)


async def begin_rebuild(pool: Pool, reason: str) -> None:
    """Begin at the beginning; one that is under way goes on."""
    await pool.execute(_BEGIN_REBUILD, reason)


async def end_rebuild(pool: Pool) -> None:
    """What was built anew is in force from now on."""
    await pool.execute(_END_REBUILD)


async def unseen(pool: Pool, after: Key, limit: int) -> list[Key]:
    """Records of the upstream's that the base that is built anew has not seen, after *after*, in their order."""
    return [(row[0], row[1]) for row in await pool.fetch(_UNSEEN, *after, limit)]


async def renew_replica(pool: Connection | Pool) -> None:
    """Take a new name as a replica."""
    await pool.execute(_RENEW)


async def own_feed(pool: Pool) -> UUID:
    """The name of this server's own feed."""
    found: UUID = await pool.fetchval(_FEED)
    return found
