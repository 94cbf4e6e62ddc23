"""Epochs of the leases: the fencing token that stops a process which slept past its lease."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from adapters.postgres.pool import Connection, Pool

_TAKE: Final = """
INSERT INTO leases AS l (worker, partition, epoch, owner)
SELECT $1, p, after + 1, $4 FROM unnest($2::int[], $3::bigint[]) AS n (p, after) ORDER BY p
ON CONFLICT (worker, partition) DO UPDATE
SET epoch = greatest(l.epoch + 1, excluded.epoch), owner = excluded.owner, acquired_at = now()
RETURNING partition, epoch
"""

# FOR SHARE: a new epoch waits for the commits under the one before, and every later commit sees the new one.
# Around midnight (UTC) the commits of a worker pass one at a time, under a lock that lasts until their end: the key of
# one day's table does not forbid a second end of an event in the next day's.
_CHECK: Final = """
SELECT partition, epoch, CASE
    WHEN (now() AT TIME ZONE 'UTC')::time NOT BETWEEN time '00:02' AND time '23:58'
    THEN pg_advisory_xact_lock(hashtext('ferryman.midnight.' || worker)) END
FROM leases WHERE worker = $1 AND partition = ANY($2::int[]) FOR SHARE
"""


async def take(
    pool: Pool, worker: str, partitions: Sequence[int], owner: str, *, after: Mapping[int, int] | None = None
) -> dict[int, int]:
    """Make *owner* the owner of *partitions* of *worker*; returns partition -> new epoch, later than the one in
    *after*. From then on the former owner can write no results."""
    known = after or {}
    rows = await pool.fetch(_TAKE, worker, list(partitions), [known.get(p, 0) for p in partitions], owner)
    return {row["partition"]: row["epoch"] for row in rows}


async def current(conn: Connection, worker: str, partitions: Sequence[int]) -> dict[int, int]:
    """Partition -> the epoch in force, which cannot change until the end of the transaction."""
    rows = await conn.fetch(_CHECK, worker, sorted(partitions))
    return {row["partition"]: row["epoch"] for row in rows}
