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
_LIFT: Final = """
DELETE FROM template_stops
WHERE provider = $1 AND name = $2 AND replace(language, '-', '_') IN ($3, '') AND stopped_at < $4 RETURNING account
"""
_LET_GO: Final = """
WITH held AS (
  SELECT id FROM messages
  WHERE status = 'queued' AND released_at IS NULL AND error IS NOT NULL AND provider = $1
    AND account = ANY ($4::text[]) AND kind = 'template' AND content ->> 'name' = $2
    AND COALESCE(replace(content ->> 'language', '-', '_'), '') IN ($3, '')
  ORDER BY id FOR UPDATE SKIP LOCKED)
UPDATE messages m SET not_before = now() + interval '1 second' * (abs(hashtext(m.id::text)) % $5), updated_at = now()
FROM held WHERE m.id = held.id
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


LET_GO_WITHIN_S: Final = 10
"""Messages of a template that is back go out within so many seconds, and not all at once: it may be refused again."""


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


class Back(NamedTuple):
    """A provider has told at *at* that it takes messages of a template again."""

    provider: str
    name: str
    language: str
    at: datetime


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


async def lift(conn: Connection, back: Sequence[Back]) -> None:
    """End the stops of templates that are back, and let their messages go. A stop that is newer than the news stays."""
    for one in sorted(set(back)):
        accounts = [row["account"] for row in await conn.fetch(_LIFT, *one)]
        if accounts:  # a message that waits for the time that was asked for has no error
            await conn.execute(_LET_GO, one.provider, one.name, one.language, accounts, LET_GO_WITHIN_S)


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
