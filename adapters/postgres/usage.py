"""How much of the server is in use, and how long it takes to write."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from adapters.postgres.pool import Pool

_USAGE: Final = """
SELECT (SELECT sum(numbackends) FROM pg_stat_database)::bigint AS connections,
       pg_database_size(current_database()) AS size_bytes
"""
_WRITE: Final = "SELECT pg_logical_emit_message(true, 'ferryman', '')"
"""A transaction that writes no table: its commit waits for the disk as every other one does."""


class Usage(NamedTuple):
    """*connections*: of the whole server. *size_bytes*: of this database. *write_s*: of one small commit."""

    connections: int
    size_bytes: int
    write_s: float


async def usage(pool: Pool) -> Usage:
    """Ask the server."""
    async with pool.acquire() as conn:
        row = await conn.fetchrow(_USAGE)
        assert row is not None
        begun = time.perf_counter()
        await conn.execute(_WRITE)
        return Usage(row["connections"], row["size_bytes"], time.perf_counter() - begun)
