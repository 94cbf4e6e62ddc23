"""Campaigns under way: who is next, and whose message is queued, taken back or given up.

Whoever feeds a campaign, pauses it or stops it holds the lock of its row. Messages are locked before their recipients,
as the trigger of `messages` does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from adapters.postgres.pool import Connection, Pool

_RUNNING: Final = "SELECT id FROM campaigns WHERE status = 'running' ORDER BY next_at LIMIT 1000"
# places of the rate that are more than a second old are lost: what stood still does not come all at once
_HOLD: Final = """
SELECT id, provider, account, template, language, category, rate, quiet_from, quiet_to, ends_at, going_since,
  GREATEST(next_at, now() - interval '1 second') AS since, now() AS now
FROM campaigns WHERE id = $1 AND status = 'running' FOR UPDATE SKIP LOCKED
"""
_UNDER_WAY: Final = """
SELECT count(*) FROM campaign_recipients WHERE campaign_id = $1 AND status IN ('queued', 'sending')
"""
_HAS_PENDING: Final = """
SELECT EXISTS (SELECT FROM campaign_recipients WHERE campaign_id = $1 AND status = 'pending')
"""
_DUE: Final = """
SELECT due.line, due.phone, due.variables::text, due.feeds, COALESCE(o.opted_out, false)
FROM (
  SELECT line, phone, person, variables, feeds, not_before FROM campaign_recipients
  WHERE campaign_id = $1 AND status = 'pending' AND not_before <= now() ORDER BY not_before, line LIMIT $2 FOR UPDATE
) due LEFT JOIN LATERAL (
  SELECT bool_or(opted_out) AS opted_out FROM opt_outs
  WHERE line = due.person AND (scope = 'all' OR (scope = 'marketing' AND $3 = 'marketing'))
) o ON true
ORDER BY due.not_before, due.line
"""
_FED: Final = """
UPDATE campaign_recipients SET status = 'queued', message_id = $3, not_after = COALESCE($4, 'infinity'::timestamptz),
  feeds = feeds + 1, fed_at = now(), updated_at = now(), error = NULL, error_code = NULL
WHERE campaign_id = $1 AND line = $2
"""
_WAIT: Final = """
UPDATE campaign_recipients SET not_before = $3, updated_at = now() WHERE campaign_id = $1 AND line = $2
"""
_SKIP: Final = """
UPDATE campaign_recipients SET status = 'skipped', error = $3, updated_at = now() WHERE campaign_id = $1 AND line = $2
"""
_END_PENDING: Final = """
UPDATE campaign_recipients SET status = $2, error = $3, updated_at = now()
WHERE campaign_id = $1 AND status = 'pending'
"""
_NEXT: Final = "UPDATE campaigns SET next_at = $2 WHERE id = $1"
_FINISH: Final = "UPDATE campaigns SET status = $2, reason = $3, finished_at = now() WHERE id = $1"

_QUEUED: Final = """
SELECT message_id FROM campaign_recipients
WHERE campaign_id = $1 AND status = 'queued' AND not_after <= COALESCE($2, 'infinity'::timestamptz)
"""
_LOCK_QUEUED: Final = """
SELECT id FROM messages WHERE id = ANY ($1::uuid[]) AND status = 'queued' ORDER BY id FOR UPDATE
"""
_PENDING_AGAIN: Final = """
UPDATE campaign_recipients SET status = 'pending', message_id = NULL, error = NULL, error_code = NULL,
  not_after = 'infinity', updated_at = now()
WHERE message_id = ANY ($1::uuid[])
"""
_DELETE: Final = "DELETE FROM messages WHERE id = ANY ($1::uuid[])"
_CANCEL: Final = "UPDATE messages SET status = 'canceled', updated_at = now() WHERE id = ANY ($1::uuid[])"

_LAST_FAULT: Final = """
SELECT fed_at, line FROM campaign_recipients
WHERE campaign_id = $1 AND status = 'failed' AND fed_at >= $2 ORDER BY fed_at DESC, line DESC LIMIT 1
"""
_VERDICTS: Final = """
SELECT status, error_code FROM campaign_recipients
WHERE campaign_id = $1 AND fed_at >= $2 AND (fed_at, line) <= ($3, $4)
  AND status IN ('sent', 'delivered', 'read', 'played', 'failed')
ORDER BY fed_at DESC, line DESC LIMIT $5
"""
_REACHED_SINCE: Final = """
SELECT EXISTS (SELECT FROM campaign_recipients WHERE campaign_id = $1 AND (fed_at, line) > ($2, $3)
  AND status IN ('delivered', 'read', 'played'))
"""


@dataclass(frozen=True, slots=True)
class Going:
    """A running campaign whose row is locked. *since*: the next place of its rate. *now*: the server's time."""

    id: UUID
    provider: str
    account: str
    template: str
    language: str | None
    category: str
    rate: float
    quiet_from: time | None
    quiet_to: time | None
    ends_at: datetime | None
    going_since: datetime
    since: datetime
    now: datetime


@dataclass(frozen=True, slots=True, repr=False)
class Due:
    """A person whose turn it is. *feeds*: how often a message was queued for them before, and taken back."""

    line: int
    phone: str
    variables: dict[str, Any]
    feeds: int
    opted_out: bool


class Fed(NamedTuple):
    """A message is queued for the recipient of *line*; it is taken back at *not_after*, None: never."""

    line: int
    message_id: UUID
    not_after: datetime | None


class Waiting(NamedTuple):
    """The recipient of *line* is not to be disturbed before."""

    line: int
    not_before: datetime


class Skipped(NamedTuple):
    """The recipient of *line* gets no message."""

    line: int
    error: str


class Verdict(NamedTuple):
    """What has become of a message of a campaign."""

    status: str
    error_code: str | None


async def running(pool: Pool) -> list[UUID]:
    """The running campaigns, the one that has waited longest first."""
    return [row["id"] for row in await pool.fetch(_RUNNING)]


async def hold(conn: Connection, id: UUID) -> Going | None:
    """Lock a running campaign until the transaction ends; None: it is not running, or another process has it."""
    row = await conn.fetchrow(_HOLD, id)
    return None if row is None else Going(*row)


async def under_way(conn: Connection, id: UUID) -> int:
    """How many of its messages are queued or being sent."""
    count: int = await conn.fetchval(_UNDER_WAY, id)
    return count


async def has_pending(conn: Connection, id: UUID) -> bool:
    """Whether somebody has not had their turn."""
    found: bool = await conn.fetchval(_HAS_PENDING, id)
    return found


async def due(conn: Connection, campaign: Going, limit: int) -> list[Due]:
    """The next recipients, locked."""
    rows = await conn.fetch(_DUE, campaign.id, limit, campaign.category)
    return [Due(line, phone, orjson.loads(told), feeds, out) for line, phone, told, feeds, out in rows]


async def record(
    conn: Connection, id: UUID, fed: Sequence[Fed], waiting: Sequence[Waiting], skipped: Sequence[Skipped]
) -> None:
    """Write what was decided of recipients. The messages of *fed* are stored before, in the same transaction."""
    for query, rows in ((_FED, fed), (_WAIT, waiting), (_SKIP, skipped)):
        if rows:
            await conn.executemany(query, [(id, *row) for row in rows])


async def advance(conn: Connection, id: UUID, next_at: datetime) -> None:
    """Record the next place of its rate."""
    await conn.execute(_NEXT, id, next_at)


async def finish(conn: Connection, id: UUID, status: str, reason: str | None = None) -> None:
    """The campaign is done, or stopped for a reason."""
    await conn.execute(_FINISH, id, status, reason)


async def end_pending(conn: Connection, id: UUID, status: str, error: str | None) -> int:
    """Give up all who have not had their turn; returns how many."""
    return int((await conn.execute(_END_PENDING, id, status, error)).split()[-1])


async def take_back(conn: Connection, id: UUID, late_by: datetime | None = None) -> int:
    """Let recipients whose messages are queued wait for their turn again; returns how many. Those messages are gone,
    and what brings them to their worker finds none. *late_by*: only those for whom it is too late by then."""
    ids = await _lock_queued(conn, id, late_by)
    if ids:
        await conn.execute(_PENDING_AGAIN, ids)
        await conn.execute(_DELETE, ids)
    return len(ids)


async def cancel_queued(conn: Connection, id: UUID) -> int:
    """Take back its queued messages for good; returns how many."""
    ids = await _lock_queued(conn, id, None)
    if ids:
        await conn.execute(_CANCEL, ids)
    return len(ids)


async def _lock_queued(conn: Connection, id: UUID, late_by: datetime | None) -> list[UUID]:
    """Lock its messages that are queued; returns their ids."""
    ids = [row["message_id"] for row in await conn.fetch(_QUEUED, id, late_by)]
    return [row["id"] for row in await conn.fetch(_LOCK_QUEUED, ids)] if ids else []


async def last_verdicts(conn: Connection, campaign: Going, limit: int) -> list[Verdict]:
    """What became of those who were reached out to up to the last one that has failed, the newest first, since the
    campaign was started or resumed. Empty where nobody has failed, or where somebody after that one was reached."""
    last = await conn.fetchrow(_LAST_FAULT, campaign.id, campaign.going_since)
    if last is None:
        return []
    rows = await conn.fetch(_VERDICTS, campaign.id, campaign.going_since, *last, limit)
    if await conn.fetchval(_REACHED_SINCE, campaign.id, *last):
        return []
    return [Verdict(*row) for row in rows]
