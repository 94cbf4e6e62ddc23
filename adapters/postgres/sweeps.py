"""When the history of a CRM was last looked through, and up to where: `sweeps`. All times are those of this server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.pool import Pool

_TAKE: Final = """
INSERT INTO sweeps AS s (place, since, held_by, held_until, began_at)
VALUES ($1, now() - make_interval(secs => $3), $2, now() + make_interval(secs => $4), now())
ON CONFLICT (place) DO UPDATE SET held_by = $2, held_until = now() + make_interval(secs => $4), began_at = now()
WHERE (s.held_until IS NULL OR s.held_until < now()) AND (
    s.began_at < now() - make_interval(secs => $5)
    OR ((s.ended_at IS NULL OR s.error IS NOT NULL OR s.ended_at < now() - make_interval(secs => $6))
        AND s.began_at < now() - make_interval(secs => $7)))
RETURNING since, floor, coalesce(next_floor, 0) AS next_floor, extract(epoch FROM now() - since)::float8 AS age_s
"""
_HOLD: Final = """
UPDATE sweeps SET held_until = now() + make_interval(secs => $3) WHERE place = $1 AND held_by = $2 RETURNING 1
"""
_FINISH: Final = """
UPDATE sweeps SET since = began_at, ended_at = now(), found = $4, error = NULL, held_by = NULL, held_until = NULL,
    floor = CASE WHEN floor IS NULL THEN $3 WHEN next_floor_at < began_at - make_interval(secs => $5) THEN next_floor
            ELSE floor END,
    next_floor = CASE WHEN floor IS NULL OR next_floor_at < began_at - make_interval(secs => $5) THEN $3
                 ELSE next_floor END,
    next_floor_at = CASE WHEN floor IS NULL OR next_floor_at < began_at - make_interval(secs => $5) THEN began_at
                    ELSE next_floor_at END
WHERE place = $1 AND held_by = $2 RETURNING 1
"""
_FAIL: Final = "UPDATE sweeps SET error = $3, held_by = NULL, held_until = NULL WHERE place = $1 AND held_by = $2"
_LET_GO: Final = """
UPDATE sweeps SET held_by = NULL, held_until = NULL, error = 'interrupted', began_at = coalesce(ended_at, since)
WHERE place = $1 AND held_by = $2
"""
_LAST: Final = """
SELECT place, ended_at, began_at, found, error, held_until > now() AS running,
    extract(epoch FROM now() - coalesce(ended_at, since))::float8 AS age_s
FROM sweeps ORDER BY place
"""
_KNOWN: Final = """
SELECT id FROM event_journal WHERE id = ANY ($1::text[]) AND recorded_at < now() + interval '2 days'
UNION ALL SELECT id FROM spool WHERE id = ANY ($1::text[])
UNION ALL SELECT id FROM outbox WHERE id = ANY ($1::text[])
"""


class Turn(NamedTuple):
    """A turn to look through the history of a place. *since*: when the last complete look began, *age_s* seconds ago;
    before the first one a little before this installation's first try. *floor*: messages up to this id were looked at
    twice; None: before the first. *next_floor*: they were looked at once."""

    since: datetime
    floor: int | None
    next_floor: int
    age_s: float


class Swept(NamedTuple):
    """How the last look at *place* ended: *age_s* seconds ago it was complete (else: since when it is due), and had
    *found* so many messages. *error*: the code of its failure. *running*: a process is at it."""

    place: str
    ended_at: datetime | None
    age_s: float
    found: int
    error: str | None
    running: bool


async def take(
    pool: Pool,
    place: str,
    me: str,
    *,
    first_s: float,
    hold_s: float,
    up_s: float | None,
    every_s: float,
    tried_s: float,
) -> Turn | None:
    """The turn, for *me* alone and for *hold_s* seconds; None where it is not due, or another one has it.

    It is due where none has begun in the last *up_s* seconds (since this process has started; None: it has had a turn
    since), where the last one ended *every_s* ago, and *tried_s* after one that has failed. *first_s*: how far back the
    first one ever looks.
    """
    row = await pool.fetchrow(_TAKE, place, me, first_s, hold_s, up_s, every_s, tried_s)
    return None if row is None else Turn(*row)


async def hold(pool: Pool, place: str, me: str, hold_s: float) -> bool:
    """Keep the turn for *hold_s* seconds more; whether it is still *me* who has it."""
    return await pool.fetchval(_HOLD, place, me, hold_s) is not None


async def finish(pool: Pool, place: str, me: str, *, newest: int, found: int, overlap_s: float) -> bool:
    """All messages up to *newest* were looked at, and *found* of them were missing. What was looked at once is looked
    at once more, for *overlap_s* seconds at least. Whether it was still *me* who had the turn; else nothing changes."""
    return await pool.fetchval(_FINISH, place, me, newest, found, overlap_s) is not None


async def fail(pool: Pool, place: str, me: str, error: str) -> None:
    """The turn is over and has not come to its end."""
    await pool.execute(_FAIL, place, me, error)


async def let_go(pool: Pool, place: str, me: str) -> None:
    """The turn is over, as the process stops: it is as if it had not begun."""
    await pool.execute(_LET_GO, place, me)


async def last(pool: Pool) -> list[Swept]:
    """How the last look at each place ended."""
    return [
        Swept(row["place"], row["ended_at"], row["age_s"], row["found"], row["error"], bool(row["running"]))
        for row in await pool.fetch(_LAST)
    ]


async def known(pool: Pool, ids: Sequence[str]) -> set[str]:
    """Which of the events *ids* have come here before, as far as the journal is."""
    return {row["id"] for row in await pool.fetch(_KNOWN, ids)}
