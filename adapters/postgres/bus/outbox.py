"""The outbox and the spool: events that are safe in Postgres and not yet on the stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from adapters.postgres.bus.events import COLUMNS, UNNEST, arrays, event_of
from adapters.postgres.pool import Connection, Pool
from schemas.envelope import Event

_EMIT: Final = f"INSERT INTO outbox ({COLUMNS}) SELECT * FROM {UNNEST} RETURNING seq"  # noqa: S608 - constants only
_KEPT: Final = "SELECT seq, id FROM outbox WHERE id = ANY($1::text[]) ORDER BY seq"
_PUBLISHED: Final = "DELETE FROM outbox WHERE seq = ANY($1::bigint[])"
_LEFT: Final = (
    f"SELECT seq, {COLUMNS}, replayid, target FROM outbox"  # noqa: S608
    " WHERE created_at < now() - make_interval(secs => $1) ORDER BY seq LIMIT $2"
)
_SPOOL: Final = f"INSERT INTO spool ({COLUMNS}) SELECT * FROM {UNNEST}"  # noqa: S608
_SPOOLED: Final = f"SELECT seq, {COLUMNS} FROM spool ORDER BY seq LIMIT $1"  # noqa: S608
_UNSPOOL: Final = "DELETE FROM spool WHERE seq = ANY($1::bigint[])"


async def emit(conn: Connection, events: Sequence[Event]) -> list[int]:
    """Keep *events* with the results that bring them about; returns their numbers for `published`."""
    return [row["seq"] for row in await conn.fetch(_EMIT, *arrays(events))]


async def kept(conn: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Event id -> number of those of *ids* that are in the outbox, in the order of their numbers."""
    return {row["id"]: row["seq"] for row in await conn.fetch(_KEPT, ids)}


async def published(pool: Pool, seqs: Sequence[int]) -> None:
    """The events numbered *seqs* are on the stream."""
    await pool.execute(_PUBLISHED, seqs)


async def left(pool: Pool, *, older_than_s: float, limit: int) -> list[tuple[int, Event]]:
    """What a crash between commit and publication left, and operators' retries, oldest first."""
    rows = await pool.fetch(_LEFT, older_than_s, limit)
    return [(r["seq"], replace(event_of(r), replayid=r["replayid"], target=r["target"])) for r in rows]


async def spool(pool: Pool, events: Sequence[Event]) -> None:
    """Keep accepted *events* while Redis is away, in this order."""
    await pool.execute(_SPOOL, *arrays(events))


async def spooled(pool: Pool, limit: int) -> list[tuple[int, Event]]:
    """The oldest spooled events, in the order of their arrival."""
    return [(row["seq"], event_of(row)) for row in await pool.fetch(_SPOOLED, limit)]


async def unspool(pool: Pool, seqs: Sequence[int]) -> None:
    """The events numbered *seqs* are on the stream."""
    await pool.execute(_UNSPOOL, seqs)


async def spool_holds_something(pool: Pool) -> bool:
    """Whether any event waits in the spool."""
    return bool(await pool.fetchval("SELECT EXISTS (SELECT FROM spool)"))


async def spool_size(pool: Pool) -> int:
    """How many events wait in the spool."""
    return int(await pool.fetchval("SELECT count(*) FROM spool"))
