"""Workers and providers that an operator has stopped, for all processes."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection, Pool

_PAUSE: Final = "INSERT INTO pauses (name, by, reason) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"


class Pause(NamedTuple):
    """*name* stands still since *since*. *by*: the operator; *reason*: in their words; None: not known."""

    name: str
    since: datetime
    by: str | None
    reason: str | None


async def paused(pool: Pool) -> frozenset[str]:
    """The names that are paused."""
    return frozenset(row["name"] for row in await pool.fetch("SELECT name FROM pauses"))


async def listed(pool: Pool) -> dict[str, Pause]:
    """Every pause, by its name."""
    rows = await pool.fetch("SELECT name, paused_at, by, reason FROM pauses ORDER BY name")
    return {row["name"]: Pause(*row) for row in rows}


async def pause(conn: Connection | Pool, name: str, by: str | None = None, reason: str | None = None) -> bool:
    """Pause *name*; false when it was paused already: who paused it first, and why, stays."""
    return (await conn.execute(_PAUSE, name, by, reason)).endswith(" 1")


async def resume(conn: Connection | Pool, name: str) -> bool:
    """Let *name* go on; false when it was not paused."""
    return (await conn.execute("DELETE FROM pauses WHERE name = $1", name)).endswith(" 1")
