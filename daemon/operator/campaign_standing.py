"""How campaigns stand: their counts, what waits and why, every recipient."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from adapters.postgres import audit_log
from adapters.postgres.audit_log import Logged
from adapters.postgres.bus import pauses
from adapters.postgres.operator import campaigns as stored
from adapters.postgres.pool import Pool
from daemon.operator.faults import NotThere
from daemon.operator.keys import masked_key

STATUSES: Final = (
    "pending", "queued", "sending", "sent", "delivered", "read", "played", "failed", "uncertain", "skipped", "canceled",
)  # fmt: skip
"""How a recipient may stand, in the order of the reports."""

MOST_LISTED: Final = 200
_LATEST: Final = datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1)


class NoSuchCampaign(NotThere):
    """There is no campaign of this id or name."""


async def find(pool: Pool, name: str) -> dict[str, Any]:
    """The campaign of this id or name, as its row has it. Raises: NoSuchCampaign."""
    found = None if "\x00" in name else await stored.find(pool, name)
    if found is None:
        raise NoSuchCampaign("there is no campaign of this id or name: see `ferryman campaign list`")
    return found


async def show(pool: Pool, name: str) -> dict[str, Any]:
    """The campaign as JSON: its counts, errors, what waits and why. Raises: NoSuchCampaign."""
    found = await find(pool, name)
    counts = (await stored.counts(pool, [found["id"]]))[found["id"]]
    pace = await stored.fed_last_minute(pool, found["id"])
    left = counts.get("pending", 0)
    return _document(found, counts) | {
        "errors": await stored.errors(pool, found["id"]),
        "waits": await _waits(pool, found, counts),
        "per_minute": pace,
        "left_s": round(left / (pace / 60)) if left and pace and found["status"] == "running" else None,
    }


def _document(found: dict[str, Any], counts: dict[str, int]) -> dict[str, Any]:
    start, end = found["quiet_from"], found["quiet_to"]
    members = {name: value for name, value in found.items() if name not in ("quiet_from", "quiet_to")}
    return members | {
        "id": str(found["id"]),
        "quiet": None if start is None else f"{start:%H:%M}-{end:%H:%M}",
        "recipients": sum(counts.values()),
        "counts": {status: counts.get(status, 0) for status in STATUSES},
    }


async def _waits(pool: Pool, found: dict[str, Any], counts: dict[str, int]) -> list[dict[str, Any]]:
    """How many wait, for what, and until when where that is known."""
    pending, provider = counts.get("pending", 0), found["provider"]
    waits: list[dict[str, Any]] = []
    if found["status"] == "running":
        quiet, until = await stored.quiet(pool, found["id"])
        waits += [{"count": quiet, "why": "quiet hours", "until": until}] if quiet else []
        why = "their turn, at the campaign's rate"
        if provider in await pauses.paused(pool):
            why = f"{provider} is paused: `ferryman resume {provider}`"
        waits += [{"count": pending - quiet, "why": why, "until": None}] if pending > quiet else []
        for count, error in await stored.queued(pool, found["id"]):
            waits.append({"count": count, "why": error or f"their turn at {provider}", "until": None})
    elif pending:
        verb = "start" if found["status"] == "draft" else "resume"
        why = f"the campaign is {found['status']}: `ferryman campaign {verb}`"
        waits.append({"count": pending, "why": why, "until": None})
    return waits


async def listed(pool: Pool, *, before: tuple[datetime, UUID] | None, limit: int) -> list[dict[str, Any]]:
    """Campaigns with their counts, newest first."""
    found = await stored.listed(pool, before or _LATEST, min(limit, MOST_LISTED))
    counts = await stored.counts(pool, [one["id"] for one in found])
    return [_document(one, counts[one["id"]]) for one in found]


async def recipients(pool: Pool, name: str, *, after: int, status: str | None, limit: int) -> list[dict[str, Any]]:
    """Its recipients behind the line *after*. Raises: NoSuchCampaign."""
    found = await find(pool, name)
    return [_shown(one) for one in await stored.recipients(pool, found["id"], after, status, limit)]


def _shown(one: dict[str, Any]) -> dict[str, Any]:
    return one | {"message_id": None if one["message_id"] is None else str(one["message_id"])}


async def report(pool: Pool, name: str, *, reveal: bool, actor: str) -> AsyncIterator[dict[str, Any]]:
    """Every recipient. *reveal*: with their phones whole, which is written down. Raises: NoSuchCampaign."""
    found = await find(pool, name)
    if reveal:
        async with pool.acquire() as conn, conn.transaction():
            await audit_log.add(conn, [Logged(actor, "campaign.revealed", f"campaign:{found['id']}", {})])
    async for one in stored.all_recipients(pool, found["id"]):
        yield _shown(one) if reveal else _shown(one) | {"phone": masked_key(one["phone"])}
