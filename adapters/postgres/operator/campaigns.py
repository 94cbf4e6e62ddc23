"""Campaigns as an operator looks at them. Reads only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from adapters.postgres.pool import Pool

_COLUMNS: Final = """
id, name, status, reason, provider, account, template, language, category, consent, rate, quiet_from, quiet_to, ends_at,
duplicates, created_by, created_at, started_at, finished_at
"""
_FIND: Final = f"SELECT {_COLUMNS} FROM campaigns WHERE id = $1 OR name = $2 ORDER BY id = $1 DESC LIMIT 1"  # noqa: S608
_LIST: Final = f"""
SELECT {_COLUMNS} FROM campaigns WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3
"""  # noqa: S608 - constants only
_COUNTS: Final = """
SELECT campaign_id, status, count(*) AS n FROM campaign_recipients WHERE campaign_id = ANY ($1::uuid[]) GROUP BY 1, 2
"""
_ERRORS: Final = """
SELECT status, error_code AS code, min(error) AS error, count(*) AS count FROM campaign_recipients
WHERE campaign_id = $1 AND status IN ('failed', 'skipped', 'uncertain')
GROUP BY status, error_code, CASE WHEN error_code IS NULL THEN error END ORDER BY count DESC, status LIMIT 50
"""
_QUIET: Final = """
SELECT count(*) AS count, min(not_before) AS until FROM campaign_recipients
WHERE campaign_id = $1 AND status = 'pending' AND not_before > now()
"""
_QUEUED: Final = """
SELECT count(*) AS count, error AS why FROM campaign_recipients
WHERE campaign_id = $1 AND status = 'queued' GROUP BY error ORDER BY count DESC LIMIT 5
"""
_PACE: Final = """
SELECT count(*) FROM campaign_recipients WHERE campaign_id = $1 AND fed_at > now() - interval '1 minute'
"""
_RECIPIENTS: Final = """
SELECT r.line, r.phone, r.name, r.status, r.error, r.error_code, r.message_id, r.variables::text,
  CASE WHEN r.not_before > now() AND r.status = 'pending' THEN r.not_before END AS not_before,
  r.fed_at AS queued_at, m.sent_at, m.delivered_at, m.read_at, r.updated_at
FROM campaign_recipients r LEFT JOIN messages m ON m.id = r.message_id
WHERE r.campaign_id = $1 AND r.line > $2 AND ($3::text IS NULL OR r.status = $3) ORDER BY r.line LIMIT $4
"""
_PAGE: Final = 1000


async def find(pool: Pool, name: str) -> dict[str, Any] | None:
    """The campaign of this id or name."""
    try:
        id = UUID(name)
    except ValueError:
        id = None
    row = await pool.fetchrow(_FIND, id, name)
    return None if row is None else dict(row)


async def listed(pool: Pool, before: tuple[datetime, UUID], limit: int) -> list[dict[str, Any]]:
    """Campaigns that were made before *before*, newest first."""
    return [dict(row) for row in await pool.fetch(_LIST, *before, limit)]


async def counts(pool: Pool, ids: list[UUID]) -> dict[UUID, dict[str, int]]:
    """Campaign -> status -> how many of its recipients stand so."""
    found: dict[UUID, dict[str, int]] = {id: {} for id in ids}
    for row in await pool.fetch(_COUNTS, ids):
        found[row["campaign_id"]][row["status"]] = row["n"]
    return found


async def errors(pool: Pool, id: UUID) -> list[dict[str, Any]]:
    """Why recipients have failed, were skipped or are uncertain, and how many for each reason."""
    return [dict(row) for row in await pool.fetch(_ERRORS, id)]


async def quiet(pool: Pool, id: UUID) -> tuple[int, datetime | None]:
    """For how many it is quiet now, and until when for the first of them."""
    row = await pool.fetchrow(_QUIET, id)
    assert row is not None
    return row["count"], row["until"]


async def queued(pool: Pool, id: UUID) -> list[tuple[int, str | None]]:
    """(how many, why) of queued messages: the reason that their last attempt gave, None for none."""
    return [(row["count"], row["why"]) for row in await pool.fetch(_QUEUED, id)]


async def fed_last_minute(pool: Pool, id: UUID) -> int:
    """How many messages were queued within a minute."""
    count: int = await pool.fetchval(_PACE, id)
    return count


async def recipients(pool: Pool, id: UUID, after: int, status: str | None, limit: int) -> list[dict[str, Any]]:
    """Its recipients behind the line *after*, in their order."""
    rows = await pool.fetch(_RECIPIENTS, id, after, status, limit)
    return [dict(row) | {"variables": orjson.loads(row["variables"])} for row in rows]


async def all_recipients(pool: Pool, id: UUID) -> AsyncIterator[dict[str, Any]]:
    """Every recipient, in their order."""
    after = -1
    while page := await recipients(pool, id, after, None, _PAGE):
        for one in page:
            yield one
        after = page[-1]["line"]
