"""The number of partitions, who keeps it from changing, and the change itself.

Every process holds a shared advisory lock while it lives; who changes the number holds it alone. Both belong to a
connection, so they end with it, however the process ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from adapters.postgres.bus import meta
from adapters.postgres.bus.events import COLUMNS, UNNEST, arrays
from adapters.postgres.pool import Connection, Pool
from schemas.envelope import Event

NUMBER: Final = "partitions"
LEFT: Final = "partitions.left"
NOBODY: Final = "nobody: the partitions changed"

_LOCK: Final = "26213, 1"  # any two numbers that are only ours
_HOLDERS: Final = """
SELECT mode, count(*) AS n FROM pg_locks
WHERE locktype = 'advisory' AND granted AND classid = 26213 AND objid = 1 AND objsubid = 2 AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY mode
"""
_MOVE: Final = f"""
INSERT INTO outbox ({COLUMNS}, replayid, target)
SELECT * FROM {UNNEST[:-1]}, $10::text[], $11::text[])
"""  # noqa: S608 - constants only
_BEHIND: Final = "SELECT (SELECT count(*) FROM spool) AS spool, (SELECT count(*) FROM outbox) AS outbox"


@dataclass(frozen=True, slots=True)
class Left:
    """What a change has still to do in Redis. *was*: the number before. *streams*: the streams that go, and the last
    entry id of each when it was looked at: what comes later is not touched."""

    was: int
    streams: Mapping[str, str]


async def take_part(conn: Connection) -> bool:
    """Keep the number from changing for as long as *conn* is open; false while somebody changes it."""
    return bool(await conn.fetchval(f"SELECT pg_try_advisory_lock_shared({_LOCK})"))


async def be_alone(conn: Connection) -> bool:
    """Keep every process from starting until *conn* goes back to its pool; false while one lives, or another changes
    the number."""
    return bool(await conn.fetchval(f"SELECT pg_try_advisory_lock({_LOCK})"))


async def holders(conn: Connection | Pool) -> tuple[int, bool]:
    """(processes that hold the number as it is, whether somebody changes it)."""
    held = {row["mode"]: row["n"] for row in await conn.fetch(_HOLDERS)}
    return held.get("ShareLock", 0), "ExclusiveLock" in held


async def number(conn: Connection | Pool) -> int | None:
    """The number in force; None before it was first used."""
    kept = await meta.value(conn, NUMBER)
    return None if kept is None else int(kept)


async def behind(conn: Connection | Pool) -> tuple[int, int]:
    """(events in the spool, events in the outbox)."""
    row = await conn.fetchrow(_BEHIND)
    assert row is not None
    return int(row["spool"]), int(row["outbox"])


async def left(conn: Connection | Pool) -> Left | None:
    """What a change that was cut short has still to do in Redis."""
    kept = await meta.value(conn, LEFT)
    return None if kept is None else Left(**orjson.loads(kept))


async def done(conn: Connection | Pool) -> None:
    """Nothing is left to do."""
    await conn.execute("DELETE FROM ferryman_meta WHERE key = $1", LEFT)


async def change(
    conn: Connection, to: int, left_over: Left, moved: AsyncIterable[Sequence[Event]], facts: Mapping[str, str | None]
) -> bool:
    """Make *to* the number, in one transaction with everything that must change with it; false, and nothing done,
    when something has come into the spool or the outbox meanwhile.

    *moved* goes into the outbox, from where the next start publishes it before anything else. *facts*: keys of
    ferryman_meta and their new values, None: gone. Epochs go up, so that nobody who slept through it writes anything.
    """
    async with conn.transaction():
        await conn.execute("LOCK TABLE spool, outbox IN SHARE ROW EXCLUSIVE MODE")
        if await behind(conn) != (0, 0):
            return False
        await conn.execute("UPDATE leases SET epoch = epoch + 1, owner = $1, acquired_at = now()", NOBODY)
        async for events in moved:
            await conn.execute(_MOVE, *arrays(events), [e.replayid for e in events], [e.target for e in events])
        await meta.put(conn, NUMBER, str(to))
        await meta.put(conn, LEFT, orjson.dumps({"was": left_over.was, "streams": left_over.streams}).decode())
        for key, value in facts.items():
            if value is None:
                await conn.execute("DELETE FROM ferryman_meta WHERE key = $1", key)
            else:
                await meta.put(conn, key, value)
    return True
