"""Workers and providers that an operator has stopped, for all processes."""

from __future__ import annotations

from adapters.postgres.pool import Pool


async def paused(pool: Pool) -> frozenset[str]:
    """The names that are paused."""
    return frozenset(row["name"] for row in await pool.fetch("SELECT name FROM pauses"))


async def pause(pool: Pool, name: str) -> bool:
    """Pause *name*; false when it was paused already."""
    done = await pool.execute("INSERT INTO pauses (name) VALUES ($1) ON CONFLICT DO NOTHING", name)
    return done.endswith(" 1")


async def resume(pool: Pool, name: str) -> bool:
    """Let *name* go on; false when it was not paused."""
    return (await pool.execute("DELETE FROM pauses WHERE name = $1", name)).endswith(" 1")
