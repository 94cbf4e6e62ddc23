"""What holds messages back: templates that a provider has stopped, and messages that wait for their turn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from adapters.postgres.deliveries import CORRELATED_WITHIN
from adapters.postgres.pool import Connection, Pool
from schemas.phone import aliases

_STOP: Final = """
INSERT INTO template_stops (provider, account, name, language, code, error, stopped_at, until)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
                     $8::timestamptz[])
ON CONFLICT (provider, account, name, language) DO UPDATE SET
  code = excluded.code, error = excluded.error, until = GREATEST(template_stops.until, excluded.until),
  stopped_at = CASE WHEN template_stops.until < excluded.stopped_at - $9::interval THEN excluded.stopped_at
                    ELSE template_stops.stopped_at END
"""
_HOLD: Final = """
UPDATE messages m SET not_before = given.until, released_at = NULL, event_id = given.event_id, error = given.why,
  updated_at = now()
FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[]) AS given (id, until, event_id, why)
WHERE m.id = given.id AND m.status = 'queued'
"""
_WAITS: Final = """
UPDATE messages m SET error = given.why, updated_at = now() FROM unnest($1::uuid[], $2::text[]) AS given (id, why)
WHERE m.id = given.id AND m.status = 'queued' AND m.error IS DISTINCT FROM given.why
"""
_STOPPED: Final = """
SELECT provider, account, name, language, code, error, stopped_at, until FROM template_stops
WHERE until > now() - $1::interval
ORDER BY provider, account, name, language LIMIT 1000
"""
_UNCORRELATED: Final = """
SELECT EXISTS (
  SELECT FROM messages
  WHERE phone = ANY ($2::text[]) AND id <> $1 AND provider = 'cgb' AND direction = 'out'
    AND provider_message_id IS NULL AND status = ANY ($3::text[]) AND claimed_at > now() - $4::interval)
"""

LAPSED: Final = timedelta(minutes=5)
"""A stop that nothing has renewed for so long is over: its template is back, or nobody sends it."""


class TemplateStop(NamedTuple):
    """A provider takes no messages of a template until *until*. *language*: "" where the template has none."""

    provider: str
    account: str
    name: str
    language: str
    code: str
    error: str
    at: datetime
    until: datetime


class Held(NamedTuple):
    """A queued message leaves its lane, and comes again at *until* by the event *event_id*."""

    id: UUID
    until: datetime
    event_id: str
    why: str


class Waits(NamedTuple):
    """Why a queued message waits in its lane."""

    id: UUID
    why: str


async def record(conn: Connection, rows: Sequence[object]) -> None:
    """Write those of *rows* that are of this file."""
    stops = {row[:4]: row for row in rows if isinstance(row, TemplateStop)}
    if stops:
        await conn.execute(_STOP, *map(list, zip(*(stops[key] for key in sorted(stops)), strict=True)), LAPSED)
    held = sorted(row for row in rows if isinstance(row, Held))
    if held:
        await conn.execute(_HOLD, *map(list, zip(*held, strict=True)))
    waits = sorted(row for row in rows if isinstance(row, Waits))
    if waits:
        await conn.execute(_WAITS, *map(list, zip(*waits, strict=True)))


async def stopped(pool: Connection | Pool) -> list[TemplateStop]:
    """The templates that are stopped."""
    return [TemplateStop(*row) for row in await pool.fetch(_STOPPED, LAPSED)]


async def uncorrelated(pool: Pool, id: UUID, phone: str, *, told: bool) -> bool:
    """Whether another message than *id* went to *phone* through CGB, which gives no ids, so lately that a status of one
    could be taken for one of the other. *told*: statuses of that number come to us, so that one that is sent is known
    by its status soon."""
    statuses = ["sending", "uncertain", "sent"] if told else ["sending", "uncertain"]
    found: bool = await pool.fetchval(_UNCORRELATED, id, list(aliases(phone)), statuses, CORRELATED_WITHIN)
    return found
