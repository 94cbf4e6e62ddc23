"""The deliveries of outgoing webhooks: those that wait, in the order of each key, and how the others ended.

Of the waiting deliveries of a subscriber and a key the one with the lowest id is the head, and it alone is due at a
time; those behind it have `next_at` 'infinity'. Whoever adds behind a head holds it until the commit, so that it cannot
end unseen: whoever ends it afterwards sees what is behind it, and makes that the head.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from adapters.postgres.pool import Connection, Pool

Lane: TypeAlias = tuple[int, str]
"""(subscriber, key)."""


class New(NamedTuple):
    """A delivery to add. *body*: as it is sent. *replay_id*: "" for the first delivery of the event."""

    subscriber_id: int
    event_id: str
    replay_id: str
    type: str
    key: str
    body: str


class Due(NamedTuple):
    """A delivery that may go out. *attempts*: before this one."""

    id: int
    event_id: str
    key: str
    body: str
    attempts: int


class Tried(NamedTuple):
    """What became of a delivery. *next_at*: when it is tried again, where its *state* is `waiting`."""

    id: int
    key: str
    state: str
    attempts: int
    next_at: datetime
    status: int | None
    error: str
    answer: str
    ms: int


_ADD: Final = """
INSERT INTO webhook_deliveries (subscriber_id, event_id, replay_id, type, key, body)
SELECT n.subscriber_id, n.event_id, n.replay_id, n.type, n.key, n.body
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) WITH ORDINALITY
  AS n (subscriber_id, event_id, replay_id, type, key, body, place)
JOIN subscribers s ON s.id = n.subscriber_id
ORDER BY n.place ON CONFLICT (subscriber_id, event_id, replay_id) DO NOTHING
"""
_HEAD_IDS: Final = """
SELECT h.id FROM unnest($1::bigint[], $2::text[]) AS lane (subscriber_id, key)
CROSS JOIN LATERAL (SELECT id FROM webhook_deliveries d
    WHERE d.subscriber_id = lane.subscriber_id AND d.key = lane.key AND d.state = 'waiting'
    ORDER BY d.subscriber_id, d.key, d.id LIMIT 1) h
"""
_HOLD: Final = """
SELECT id FROM webhook_deliveries WHERE id = ANY($1) AND state = 'waiting' ORDER BY id FOR SHARE
"""
_LOCK: Final = """
SELECT id FROM webhook_deliveries WHERE id = ANY($1) AND state = 'waiting' ORDER BY id FOR UPDATE
"""
_DUE: Final = """
UPDATE webhook_deliveries SET next_at = $2 WHERE id = ANY($1) AND state = 'waiting' AND next_at = 'infinity'
"""
_HEADS: Final = """
SELECT d.id, d.event_id, d.key, d.body, d.attempts FROM webhook_deliveries d
WHERE d.subscriber_id = $1 AND d.state = 'waiting' AND d.next_at <= $2 AND d.id <> ALL($4::bigint[])
  AND d.id = (SELECT e.id FROM webhook_deliveries e
      WHERE e.subscriber_id = d.subscriber_id AND e.key = d.key AND e.state = 'waiting'
      ORDER BY e.subscriber_id, e.key, e.id LIMIT 1)
ORDER BY d.next_at, d.id LIMIT $3
"""
_TRIED: Final = """
UPDATE webhook_deliveries d SET state = n.state, attempts = n.attempts, next_at = n.next_at, last_at = $9::timestamptz,
  status = n.status, error = nullif(n.error, ''), answer = nullif(n.answer, ''), ms = n.ms,
  ended_at = CASE WHEN n.state = 'waiting' THEN NULL ELSE $9::timestamptz END
FROM unnest($1::bigint[], $2::text[], $3::int[], $4::timestamptz[], $5::int[], $6::text[], $7::text[], $8::int[])
  AS n (id, state, attempts, next_at, status, error, answer, ms)
WHERE d.id = n.id AND d.state = 'waiting'
"""


async def add(conn: Connection, rows: Sequence[New], now: datetime) -> int:
    """Add *rows* in their order, in a transaction; returns how many were not there. What a subscriber that is gone was
    to be told of is left out."""
    done = await insert(conn, rows)
    await settle(conn, ((row.subscriber_id, row.key) for row in rows), now)
    return done


async def insert(conn: Connection, rows: Sequence[New]) -> int:
    """As `add`, but none is due before `settle` is called with their lanes, in the same transaction."""
    if not rows:
        return 0
    return int((await conn.execute(_ADD, *map(list, zip(*rows, strict=True)))).rpartition(" ")[2])


async def settle(conn: Connection, lanes: Iterable[Lane], now: datetime) -> None:
    """Make the head of each of *lanes* due, where it is not yet, and hold the heads until the commit."""
    wanted = sorted(set(lanes))
    ids, keys = [lane[0] for lane in wanted], [lane[1] for lane in wanted]
    while True:
        heads = [row["id"] for row in await conn.fetch(_HEAD_IDS, ids, keys)]
        held = await conn.fetch(_HOLD, heads)
        if len(held) == len(heads):
            break  # else one has ended in between: what was behind it is the head now
    await conn.execute(_DUE, heads, now)


async def heads(pool: Pool, subscriber_id: int, now: datetime, most: int, but: Sequence[int]) -> list[Due]:
    """Up to *most* deliveries that are due, the first ones first, without those of *but*."""
    return [Due(*row) for row in await pool.fetch(_HEADS, subscriber_id, now, most, list(but))]


async def record(conn: Connection, subscriber_id: int, tried: Sequence[Tried], now: datetime) -> None:
    """Record what became of deliveries, in a transaction. One that has ended meanwhile stays as it is."""
    rows = sorted(tried)
    ids = [one.id for one in rows]
    await conn.fetch(_LOCK, ids)
    await conn.execute(
        _TRIED,
        ids,
        [one.state for one in rows],
        [one.attempts for one in rows],
        [one.next_at for one in rows],
        [one.status for one in rows],
        [one.error for one in rows],
        [one.answer for one in rows],
        [one.ms for one in rows],
        now,
    )
    if lanes := {(subscriber_id, one.key) for one in rows if one.state != "waiting"}:
        await settle(conn, lanes, now)
