"""What goes in and out in each minute, and how far behind each worker is: a day of it, for the operator's charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple, TypeAlias

from adapters.postgres.pool import Pool

KEPT_H: Final = 25
"""Hours after which a minute is removed."""

Direction: TypeAlias = Literal["in", "out"]


class Flow(NamedTuple):
    """What is counted. *name*: in: the webhook source; out: the worker. *outcome*: how the requests, or the events,
    ended."""

    minute: datetime
    direction: Direction
    name: str
    outcome: str


class Lag(NamedTuple):
    """What waits for *worker*: *unread* entries, and *pending* ones that it has and has not ended with. *oldest_s*: how
    long the oldest of them has waited."""

    worker: str
    unread: int
    pending: int
    oldest_s: float


_ADD: Final = """
INSERT INTO flow_minutes AS f (minute, direction, name, outcome, n)
SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::bigint[]) ORDER BY 1, 2, 3, 4
ON CONFLICT (minute, direction, name, outcome) DO UPDATE SET n = f.n + excluded.n
"""
_PUT: Final = """
INSERT INTO lag_minutes (minute, worker, at, unread, pending, oldest_s)
SELECT date_trunc('minute', now()), worker, now(), unread, pending, oldest_s
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::float8[]) AS given (worker, unread, pending, oldest_s)
ORDER BY worker
ON CONFLICT (minute, worker) DO UPDATE
SET at = excluded.at, unread = excluded.unread, pending = excluded.pending, oldest_s = excluded.oldest_s
"""


async def add(pool: Pool, counts: Mapping[Flow, int]) -> None:
    """Add *counts* to what other processes have counted."""
    if counts:
        await pool.execute(_ADD, *map(list, zip(*counts, strict=True)), list(counts.values()))


async def put(pool: Pool, lags: Sequence[Lag]) -> None:
    """What waits now. Every process tells the same of a worker, so the last word holds."""
    if lags:
        await pool.execute(_PUT, *map(list, zip(*lags, strict=True)))


async def remove_old(pool: Pool) -> None:
    """Remove the minutes of more than KEPT_H hours ago."""
    for table in ("flow_minutes", "lag_minutes"):
        await pool.execute(f"DELETE FROM {table} WHERE minute < now() - make_interval(hours => $1)", KEPT_H)  # noqa: S608
