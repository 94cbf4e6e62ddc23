"""Bulk syncs: which orders each delivers, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.postgres.pool import Pool
from adapters.postgres.stored_orders import OrderFilter


@dataclass(frozen=True, slots=True)
class SyncRun:
    """A bulk sync under way. *cursor*: the id of the last order that was sent, by which they are in order."""

    id: str
    cursor: str
    total: int
    sent: int


async def unfinished(pool: Pool, wanted: OrderFilter) -> SyncRun | None:
    """The run of the same filter that was begun last and not finished."""
    row = await pool.fetchrow(
        "SELECT id, cursor, total, sent FROM sync_runs WHERE filter = $1::jsonb AND finished_at IS NULL"
        " ORDER BY started_at DESC LIMIT 1",
        wanted.document(),
    )
    return None if row is None else SyncRun(*row)


async def begin(pool: Pool, run: SyncRun, wanted: OrderFilter, operator: str) -> None:
    """Insert *run*, which *operator* begins."""
    await pool.execute(
        "INSERT INTO sync_runs (id, filter, total, begun_by) VALUES ($1, $2::jsonb, $3, $4)",
        run.id,
        wanted.document(),
        run.total,
        operator,
    )


async def advance(pool: Pool, run_id: str, cursor: str, sent: int) -> None:
    """Record that *sent* orders are sent, the last one of them *cursor*."""
    await pool.execute("UPDATE sync_runs SET cursor = $2, sent = $3 WHERE id = $1", run_id, cursor, sent)


async def finish(pool: Pool, run_id: str) -> None:
    """Record that every order of the run has ended."""
    await pool.execute("UPDATE sync_runs SET finished_at = now() WHERE id = $1", run_id)
