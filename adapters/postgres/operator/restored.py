"""What a restored database knows and lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.postgres.pool import Connection, Pool

_KNOWN: Final = """
SELECT id FROM event_journal WHERE id = ANY($1::text[])
UNION SELECT id FROM spool WHERE id = ANY($1::text[])
"""
_SCHEMA: Final = "SELECT max(version) FROM schema_migrations"


async def known(pool: Pool, ids: Sequence[str]) -> set[str]:
    """Those of the events *ids* that the journal or the spool has."""
    return {row["id"] for row in await pool.fetch(_KNOWN, ids)}


async def schema(conn: Connection | Pool) -> int:
    """The number of the last migration that the database has."""
    return int(await conn.fetchval(_SCHEMA))
