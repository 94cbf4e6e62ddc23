"""What an open event waits for that the tables know: a place on its stream, an earlier event, its turn. Reads only."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, NamedTuple
from uuid import UUID

from adapters.postgres.pool import Pool


class Waiting(NamedTuple):
    """It is not on its stream yet. *ahead*: how many go before it. *again*: it goes to one worker alone, as a retry
    does."""

    where: Literal["spool", "outbox"]
    since: datetime
    ahead: int
    again: bool


_SPOOLED: Final = """
SELECT spooled_at, (SELECT count(*) FROM spool s WHERE s.seq < spool.seq) FROM spool WHERE id = $1 ORDER BY seq LIMIT 1
"""
_QUEUED: Final = """
SELECT created_at, (SELECT count(*) FROM outbox o WHERE o.seq < outbox.seq), target <> '' FROM outbox
WHERE id = $1 AND target IN ('', $2) AND replayid = '' ORDER BY seq DESC LIMIT 1
"""
_ENTRY_ID: Final = "SELECT entry_id FROM event_journal WHERE id = $1 LIMIT 1"
_RATE: Final = """
SELECT count(*) FROM inbox
WHERE at > now() - make_interval(secs => $2) AND at < now() + interval '2 days' AND worker = $1
"""
_MESSAGE: Final = "SELECT status FROM messages WHERE id = $1"


async def place(pool: Pool, event_id: str, worker: str) -> Waiting | None:
    """Where the event waits to get on its stream, or a retry of it for *worker*; None: it does not."""
    if (row := await pool.fetchrow(_SPOOLED, event_id)) is not None:
        return Waiting("spool", row[0], row[1], False)
    row = await pool.fetchrow(_QUEUED, event_id, worker)
    return None if row is None else Waiting("outbox", *row)


async def entry_id(pool: Pool, event_id: str) -> str | None:
    """The id of the event's entry on its stream, as far as it is known."""
    found: str | None = await pool.fetchval(_ENTRY_ID, event_id)
    return found


async def ended_of_late(pool: Pool, worker: str, seconds: float) -> int:
    """How many events *worker* has ended with in the last *seconds*."""
    return int(await pool.fetchval(_RATE, worker, seconds))


async def message_status(pool: Pool, id: UUID) -> str | None:
    """The status of the message with this id."""
    found: str | None = await pool.fetchval(_MESSAGE, id)
    return found
