"""The outbox: emitted events, committed with the results that caused them and not yet on the stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.postgres.bus.events import COLUMNS, UNNEST, arrays, event_of
from adapters.postgres.pool import Connection, Pool
from schemas.envelope import Event

_EMIT: Final = f"INSERT INTO outbox ({COLUMNS}) SELECT * FROM {UNNEST} RETURNING seq"  # noqa: S608 - constants only
_LEAVE: Final = f"""
INSERT INTO outbox ({COLUMNS}, created_at) SELECT given.*, '-infinity' FROM {UNNEST} AS given
"""  # noqa: S608 - constants only
_SEND: Final = f"""
INSERT INTO outbox ({COLUMNS}, replayid) SELECT given.*, $10 FROM {UNNEST} AS given
"""  # noqa: S608 - constants only
_KEPT: Final = "SELECT seq, id FROM outbox WHERE id = ANY($1::text[]) ORDER BY seq"
_PUBLISHED: Final = "DELETE FROM outbox WHERE seq = ANY($1::bigint[])"
_LEFT: Final = (
    f"SELECT seq, {COLUMNS}, replayid, target FROM outbox"  # noqa: S608
    " WHERE created_at < now() - make_interval(secs => $1) ORDER BY seq LIMIT $2"
)


async def emit(conn: Connection, events: Sequence[Event]) -> list[int]:
    """Insert *events* in the transaction of the results that cause them; returns their numbers for `published`."""
    return [row["seq"] for row in await conn.fetch(_EMIT, *arrays(events))]


async def leave(conn: Connection, events: Sequence[Event]) -> None:
    """Insert *events*, which no process is about to publish: the next turn of a sweeper does."""
    if events:
        await conn.execute(_LEAVE, *arrays(events))


async def send(conn: Connection, events: Sequence[Event], replay_id: str) -> None:
    """Insert *events*, to be delivered again under *replay_id* to the worker that it names."""
    if events:
        await conn.execute(_SEND, *arrays(events), replay_id)


async def kept(conn: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Event id -> number of those of *ids* that are in the outbox, in the order of their numbers."""
    return {row["id"]: row["seq"] for row in await conn.fetch(_KEPT, ids)}


async def published(pool: Pool, seqs: Sequence[int]) -> None:
    """Delete the rows numbered *seqs*: their events are on the stream."""
    await pool.execute(_PUBLISHED, seqs)


async def left(pool: Pool, *, older_than_s: float, limit: int) -> list[tuple[int, Event]]:
    """Rows older than *older_than_s*, oldest first: what a crash between commit and publication left, and operators'
    retries."""
    return [(row["seq"], event_of(row)) for row in await pool.fetch(_LEFT, older_than_s, limit)]
