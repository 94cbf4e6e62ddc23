"""Facts about this database that every process must agree on."""

from __future__ import annotations

from typing import Final

from adapters.postgres.pool import Connection, Pool

_KEEP: Final = """
INSERT INTO ferryman_meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING
value
"""


async def settle(pool: Pool, key: str, value: str) -> str:
    """The value of *key*; a key without one gets *value*."""
    return str(await pool.fetchval(_KEEP, key, value))


async def value(conn: Connection | Pool, key: str) -> str | None:
    """The value of *key*, or None."""
    found: str | None = await conn.fetchval("SELECT value FROM ferryman_meta WHERE key = $1", key)
    return found


async def put(conn: Connection | Pool, key: str, value: str) -> None:
    """Make *value* the value of *key*."""
    await conn.execute(
        "INSERT INTO ferryman_meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        key,
        value,
    )


async def raise_to(pool: Pool, key: str, number: int) -> None:
    """Make *number* the value of *key*, unless that is greater already."""
    await pool.execute(
        "INSERT INTO ferryman_meta AS m (key, value) VALUES ($1, $2::bigint::text)"
        " ON CONFLICT (key) DO UPDATE SET value = greatest(m.value::bigint, $2)::text",
        key,
        number,
    )
