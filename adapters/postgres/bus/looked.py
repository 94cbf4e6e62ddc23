"""Which processes have published, after a loss, what they alone knew.

A row serves only those who wait for the others at that moment. It holds when it was written, so that the rows of
processes that are gone can be removed.
"""

from __future__ import annotations

from typing import Final

from adapters.postgres.pool import Connection, Pool

KEPT_S: Final = 60
"""Longer than any process waits for the others."""

_TELL: Final = """
INSERT INTO ferryman_meta (key, value)
VALUES ('looked.' || extract(epoch FROM clock_timestamp())::bigint || '.' || $1, $2)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
_COUNT: Final = r"""
SELECT count(DISTINCT regexp_replace(key, '^.*\.', '')) FROM ferryman_meta WHERE key ^@ 'looked.' AND value = $1
"""
# a key without a time is of an earlier version of Ferryman
_FORGET_OLD: Final = r"""
DELETE FROM ferryman_meta WHERE key ^@ 'looked.'
    AND coalesce(substring(key FROM '^looked\.([0-9]{1,15})\.')::bigint, 0)
        < extract(epoch FROM clock_timestamp()) - $1::int
"""


async def tell(conn: Connection | Pool, process: str, mark: str) -> None:
    """Say that *process* has published what it alone knew when *mark* was set."""
    await conn.execute(_TELL, process, mark)


async def count(pool: Pool, mark: str) -> int:
    """How many processes have said so of *mark*, of late."""
    return int(await pool.fetchval(_COUNT, mark))


async def forget_old(conn: Connection | Pool) -> None:
    """Forget what was said longer ago than KEPT_S."""
    await conn.execute(_FORGET_OLD, KEPT_S)


async def forget_all(conn: Connection) -> None:
    """Forget everything: there is another loss."""
    await conn.execute("DELETE FROM ferryman_meta WHERE key ^@ 'looked.'")
