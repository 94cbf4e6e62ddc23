"""What an operator sees and does of deliveries of outgoing webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, NamedTuple

from adapters.postgres.pool import Connection, Pool
from adapters.postgres.webhook_deliveries import settle

BATCH: Final = 1000
"""Rows that one transaction changes."""

State = Literal["waiting", "delivered", "failed", "skipped"]


class Counts(NamedTuple):
    """How many deliveries of a subscriber wait, the oldest since when, and how many have failed for good."""

    waiting: int
    oldest: datetime | None
    failed: int


class Group(NamedTuple):
    """Failed deliveries with the same reason."""

    error: str
    deliveries: int
    first: datetime
    last: datetime


class Delivery(NamedTuple):
    """A delivery without its body and its key."""

    id: int
    event_id: str
    type: str
    state: State
    attempts: int
    next_at: datetime | None
    last_at: datetime | None
    status: int | None
    error: str | None
    answer: str | None
    ms: int | None
    created_at: datetime
    ended_at: datetime | None


class Wanted(NamedTuple):
    """Which failed deliveries of a subscriber. *ids*, *error*: None: any."""

    subscriber_id: int
    ids: tuple[int, ...] | None = None
    error: str | None = None


_COUNTS: Final = """
SELECT (SELECT count(*) FROM webhook_deliveries WHERE subscriber_id = $1 AND state = 'waiting'),
       (SELECT created_at FROM webhook_deliveries
        WHERE subscriber_id = $1 AND state = 'waiting' ORDER BY id LIMIT 1),
       (SELECT count(*) FROM webhook_deliveries WHERE subscriber_id = $1 AND state = 'failed')
"""
_GROUPS: Final = """
SELECT coalesce(error, ''), count(*), min(last_at), max(last_at) FROM webhook_deliveries
WHERE subscriber_id = $1 AND state = 'failed' GROUP BY 1 ORDER BY 2 DESC, 1
"""
_COLUMNS: Final = ", ".join(Delivery._fields).replace("next_at", "nullif(next_at, 'infinity')")
_NEWEST: Final = f"""
SELECT {_COLUMNS} FROM webhook_deliveries WHERE subscriber_id = $1 AND state = $2 AND id < $3 ORDER BY id DESC LIMIT $4
"""  # noqa: S608 - constants only
_FAILED: Final = """
FROM webhook_deliveries WHERE subscriber_id = $1 AND state = 'failed' AND ($2::bigint[] IS NULL OR id = ANY($2))
  AND ($3::text IS NULL OR error = $3)
"""
_COUNT_FAILED: Final = f"SELECT count(*), coalesce(max(id), 0) {_FAILED}"
_PAGE_FAILED: Final = f"SELECT id, key {_FAILED} AND id <= $4 ORDER BY id LIMIT $5 FOR UPDATE"
_AGAIN: Final = """
UPDATE webhook_deliveries SET state = 'waiting', next_at = 'infinity', attempts = 0, ended_at = NULL WHERE id = ANY($1)
"""
_BACKLOG: Final = """
SELECT count(*), coalesce(max(id), 0) FROM webhook_deliveries WHERE subscriber_id = $1 AND state = 'waiting'
"""
_SKIP: Final = """
UPDATE webhook_deliveries SET state = 'skipped', ended_at = $3 WHERE id IN (
    SELECT id FROM webhook_deliveries WHERE subscriber_id = $1 AND state = 'waiting' AND id <= $2
    ORDER BY id LIMIT $4 FOR UPDATE)
RETURNING key
"""
_HEADS_DUE: Final = """
UPDATE webhook_deliveries SET next_at = $2 WHERE id IN (
    SELECT DISTINCT ON (key) id FROM webhook_deliveries WHERE subscriber_id = $1 AND state = 'waiting'
    ORDER BY key, id)
"""
_REMOVE: Final = """
DELETE FROM webhook_deliveries WHERE id IN (
    SELECT id FROM webhook_deliveries WHERE subscriber_id = $1 LIMIT $2)
"""


async def counts(pool: Pool, subscriber_id: int) -> Counts:
    """How its deliveries stand."""
    row = await pool.fetchrow(_COUNTS, subscriber_id)
    assert row is not None
    return Counts(*row)


async def groups(pool: Pool, subscriber_id: int) -> list[Group]:
    """Its failed deliveries by their reason, the most frequent first."""
    return [Group(*row) for row in await pool.fetch(_GROUPS, subscriber_id)]


async def newest(pool: Pool, subscriber_id: int, state: State, before: int, most: int) -> list[Delivery]:
    """Its deliveries in a *state*, the newest first, whose ids are lower than *before*."""
    return [Delivery(*row) for row in await pool.fetch(_NEWEST, subscriber_id, state, before, most)]


async def count_failed(pool: Pool, wanted: Wanted) -> tuple[int, int]:
    """(how many there are, the highest id)."""
    row = await pool.fetchrow(_COUNT_FAILED, *_arguments(wanted))
    assert row is not None
    return int(row[0]), int(row[1])


async def retry(conn: Connection, wanted: Wanted, upto: int, now: datetime) -> int:
    """Let a batch of them wait once more, in a transaction; returns how many. *upto*: the highest id to take."""
    rows = await conn.fetch(_PAGE_FAILED, *_arguments(wanted), upto, BATCH)
    if rows:
        await conn.execute(_AGAIN, [row["id"] for row in rows])
        await settle(conn, {(wanted.subscriber_id, row["key"]) for row in rows}, now)
    return len(rows)


def _arguments(wanted: Wanted) -> tuple[object, ...]:
    return wanted.subscriber_id, None if wanted.ids is None else list(wanted.ids), wanted.error


async def backlog(conn: Connection | Pool, subscriber_id: int) -> tuple[int, int]:
    """(how many of its deliveries wait, the highest id)."""
    row = await conn.fetchrow(_BACKLOG, subscriber_id)
    assert row is not None
    return int(row[0]), int(row[1])


async def skip(conn: Connection, subscriber_id: int, upto: int, now: datetime) -> int:
    """Take a batch of what waits out of the line, in a transaction; returns how many."""
    rows = await conn.fetch(_SKIP, subscriber_id, upto, now, BATCH)
    if rows:
        await settle(conn, {(subscriber_id, row["key"]) for row in rows}, now)
    return len(rows)


async def all_due(conn: Connection, subscriber_id: int, now: datetime) -> None:
    """Make the first delivery of each key due."""
    await conn.execute(_HEADS_DUE, subscriber_id, now)


async def remove(pool: Pool, subscriber_id: int) -> int:
    """Delete all of its deliveries, batch by batch; returns how many."""
    count = 0
    while some := int((await pool.execute(_REMOVE, subscriber_id, BATCH)).rpartition(" ")[2]):
        count += some
    return count
