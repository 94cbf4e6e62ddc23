"""The spool: accepted events that wait in Postgres while Redis is away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.postgres.bus.events import COLUMNS, UNNEST, arrays, event_of
from adapters.postgres.pool import Pool
from schemas.envelope import Event

_APPEND: Final = f"INSERT INTO spool ({COLUMNS}) SELECT * FROM {UNNEST}"  # noqa: S608 - constants only
_OLDEST: Final = f"SELECT seq, {COLUMNS} FROM spool ORDER BY seq LIMIT $1"  # noqa: S608 - constants only
_REMOVE: Final = "DELETE FROM spool WHERE seq = ANY($1::bigint[])"


APPEND_S: Final = 1.5
"""Longest wait for a connection, and then for the insert: a sender waits for both."""


async def append(pool: Pool, events: Sequence[Event]) -> None:
    """Insert *events*, in this order."""
    async with pool.acquire(timeout=APPEND_S) as conn:
        await conn.execute(_APPEND, *arrays(events), timeout=APPEND_S)


async def oldest(pool: Pool, limit: int) -> list[tuple[int, Event]]:
    """The *limit* oldest events with their numbers, in the order of their arrival."""
    return [(row["seq"], event_of(row)) for row in await pool.fetch(_OLDEST, limit)]


async def remove(pool: Pool, seqs: Sequence[int]) -> None:
    """Delete the rows numbered *seqs*: their events are on the stream."""
    await pool.execute(_REMOVE, seqs)


async def holds_something(pool: Pool) -> bool:
    """Whether any event waits."""
    return bool(await pool.fetchval("SELECT EXISTS (SELECT FROM spool)"))


async def size(pool: Pool) -> int:
    """How many events wait."""
    return int(await pool.fetchval("SELECT count(*) FROM spool"))
