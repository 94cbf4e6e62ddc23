"""Marks: what proves to a cursor that the history which its reader has seen is still this database's.

A mark belongs to a number of the clock and is made by chance. A database that was restored from before it, or a replica
that never had it, does not know it.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from adapters.postgres.pool import Connection, Pool

# the update changes nothing: it makes the statement return the mark that another process has made
_MAKE: Final = """
INSERT INTO sync_marks AS m (seq) VALUES ($1)
ON CONFLICT (seq) DO UPDATE SET mark = m.mark
RETURNING mark::text
"""


async def made(pool: Pool, seq: int) -> UUID:
    """The mark of the number *seq*, which has been seen as the head."""
    return UUID(await pool.fetchval(_MAKE, seq))


_MAKE_AT_HEAD: Final = "INSERT INTO sync_marks (seq) SELECT seq FROM sync_clock ON CONFLICT DO NOTHING"


async def make_at_head(pool: Pool) -> None:
    """Make sure that the head has a mark: the cursors of readers whom nothing concerns follow it."""
    await pool.execute(_MAKE_AT_HEAD)


_STANDING: Final = """
SELECT c.feed, c.epoch, c.seq, c.horizon,
       EXISTS (SELECT FROM sync_marks m WHERE m.seq = $1 AND m.mark = $2) AS is_known
FROM sync_clock c WHERE c.one
"""


async def standing(pool: Pool, mseq: int, mark: UUID) -> tuple[UUID, int, int, int, bool]:
    """Feed, epoch, head and horizon of the history, and whether it has the *mark* at *mseq*."""
    row = await pool.fetchrow(_STANDING, mseq, mark)
    assert row is not None, "the migration has made the row of the clock"
    return row["feed"], row["epoch"], row["seq"], row["horizon"], row["is_known"]


async def new_epoch(conn: Connection | Pool) -> int:
    """Raise the epoch: every replica begins anew. Returns the new one."""
    return int(await conn.fetchval("UPDATE sync_clock SET epoch = epoch + 1 RETURNING epoch"))


async def new_feed(conn: Connection | Pool) -> None:
    """Take a new name for the history: that of a copy is not its original's any more."""
    await conn.execute("UPDATE sync_clock SET feed = gen_random_uuid()")
