"""Epochs of the leases: the fencing token that a process which slept past its lease cannot have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.postgres.pool import Connection, Pool

_TAKE: Final = """
INSERT INTO leases AS l (worker, partition, epoch, owner)
SELECT $1, p, 1, $3 FROM unnest($2::int[]) AS p ORDER BY p
ON CONFLICT (worker, partition) DO UPDATE SET epoch = l.epoch + 1, owner = excluded.owner, acquired_at = now()
RETURNING partition, epoch
"""

# FOR SHARE: a taker waits for the commits that still hold the epoch before, and a commit after it sees the new one.
_CHECK: Final = "SELECT partition, epoch FROM leases WHERE worker = $1 AND partition = ANY($2::int[]) FOR SHARE"


async def take(pool: Pool, worker: str, partitions: Sequence[int], owner: str) -> dict[int, int]:
    """Make *owner* the owner of *partitions* of *worker*; returns the new epoch of each. Who held them can write no
    more."""
    rows = await pool.fetch(_TAKE, worker, sorted(partitions), owner)
    return {row["partition"]: row["epoch"] for row in rows}


async def current(conn: Connection, worker: str, partitions: Sequence[int]) -> dict[int, int]:
    """The epochs in force, held still until the end of the transaction."""
    rows = await conn.fetch(_CHECK, worker, sorted(partitions))
    return {row["partition"]: row["epoch"] for row in rows}
