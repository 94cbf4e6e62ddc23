"""The change of the number of partitions: one transaction, and what it leaves to do in Redis."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from adapters.postgres.bus import meta, places
from adapters.postgres.bus.events import COLUMNS, UNNEST, arrays
from adapters.postgres.bus.partitions import NUMBER
from adapters.postgres.pool import Connection, Pool
from schemas.envelope import Event

OLD_STREAMS: Final = "partitions.left"
"""The key of `ferryman_meta`."""

NO_OWNER: Final = "none: the partitions changed"

_MOVE: Final = f"""
INSERT INTO outbox ({COLUMNS}, replayid, target)
SELECT * FROM {UNNEST[:-1]}, $10::text[], $11::text[])
"""  # noqa: S608 - constants only
_BEHIND: Final = "SELECT (SELECT count(*) FROM spool) AS spool, (SELECT count(*) FROM outbox) AS outbox"


@dataclass(frozen=True, slots=True)
class OldStreams:
    """The streams that a change leaves to be removed from Redis. *was*: the number before. *streams*: key -> its last
    entry id at the time of the change; later entries stay."""

    was: int
    streams: Mapping[str, str]


async def behind(conn: Connection | Pool) -> tuple[int, int]:
    """(events in the spool, events in the outbox)."""
    row = await conn.fetchrow(_BEHIND)
    assert row is not None
    return int(row["spool"]), int(row["outbox"])


async def old_streams(conn: Connection | Pool) -> OldStreams | None:
    """The streams that a change has left and that may still be in Redis."""
    kept = await meta.value(conn, OLD_STREAMS)
    return None if kept is None else OldStreams(**orjson.loads(kept))


async def old_streams_removed(conn: Connection | Pool) -> None:
    """Forget the old streams: they are gone from Redis."""
    await conn.execute("DELETE FROM ferryman_meta WHERE key = $1", OLD_STREAMS)


async def change(
    conn: Connection,
    to: int,
    old: OldStreams,
    moved: AsyncIterable[Sequence[Event]],
    meta_values: Mapping[str, str | None],
) -> bool:
    """Make *to* the number, in one transaction with everything that must change with it. Returns false, with nothing
    changed, when the spool or the outbox is not empty.

    *moved* goes into the outbox; the next start publishes that before anything else. *meta_values*: keys of
    `ferryman_meta` and their new values, None: deleted. Epochs go up, so that a process which slept through the
    change can write nothing.
    """
    async with conn.transaction():
        await conn.execute("LOCK TABLE spool, outbox IN SHARE ROW EXCLUSIVE MODE")
        if await behind(conn) != (0, 0):
            return False
        await conn.execute("UPDATE leases SET epoch = epoch + 1, owner = $1, acquired_at = now()", NO_OWNER)
        async for events in moved:
            await conn.execute(_MOVE, *arrays(events), [e.replayid for e in events], [e.target for e in events])
        await meta.put(conn, NUMBER, str(to))
        await meta.put(conn, places.COMPARED, str(await places.last(conn)))  # their places are on the old streams
        await meta.put(conn, OLD_STREAMS, orjson.dumps({"was": old.was, "streams": old.streams}).decode())
        for key, value in meta_values.items():
            if value is None:
                await conn.execute("DELETE FROM ferryman_meta WHERE key = $1", key)
            else:
                await meta.put(conn, key, value)
    return True
