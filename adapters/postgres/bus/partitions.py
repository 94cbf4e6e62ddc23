"""The number of partitions in force, and the lock that keeps it from changing.

A process shares the advisory lock while it lives; `ferryman partitions N` holds it alone. The lock belongs to a
connection, so it ends with the connection, however the process ends.
"""

from __future__ import annotations

from typing import Final

from adapters.postgres.bus import meta
from adapters.postgres.pool import Connection, Pool

NUMBER: Final = "partitions"
"""The key of `ferryman_meta`."""

_LOCK: Final = "26213, 1"  # any two numbers that nothing else uses
_HOLDERS: Final = """
SELECT mode, count(*) AS n FROM pg_locks
WHERE locktype = 'advisory' AND granted AND classid = 26213 AND objid = 1 AND objsubid = 2 AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY mode
"""


async def number(conn: Connection | Pool) -> int | None:
    """The number in force; None before the first start."""
    kept = await meta.value(conn, NUMBER)
    return None if kept is None else int(kept)


async def take_part(conn: Connection) -> bool:
    """Share the lock until *conn* is closed, or `pool.locking` ends; false while a change holds it."""
    return bool(await conn.fetchval(f"SELECT pg_try_advisory_lock_shared({_LOCK})"))


async def be_alone(conn: Connection) -> bool:
    """Hold the lock alone, so that no process starts, until `pool.locking` ends; false while a process lives or another
    change is under way."""
    return bool(await conn.fetchval(f"SELECT pg_try_advisory_lock({_LOCK})"))


async def holders(conn: Connection | Pool) -> tuple[int, bool]:
    """(how many other connections share the lock, whether one of them holds it alone)."""
    held = {row["mode"]: row["n"] for row in await conn.fetch(_HOLDERS)}
    return held.get("ShareLock", 0), "ExclusiveLock" in held
