"""Counts for the page of numbers."""

from __future__ import annotations

from adapters.postgres.pool import Pool


async def open_dead_letters(pool: Pool) -> dict[str, int]:
    """Worker -> dead letters that nobody has settled."""
    rows = await pool.fetch("SELECT worker, count(*) AS n FROM dead_letters WHERE state = 'open' GROUP BY worker")
    return {row["worker"]: row["n"] for row in rows}
