"""Campaigns: made, moved on and shown, as the command line and the API do it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID, uuid4

import orjson

from adapters.postgres import audience as stored_audience
from adapters.postgres import audit_log, campaign_feed, campaigns, credentials
from adapters.postgres.audience import OrdersQuery
from adapters.postgres.audit_log import Logged
from adapters.postgres.bus import pauses
from adapters.postgres.campaigns import Campaign
from adapters.postgres.operator import campaigns as stored
from adapters.postgres.pool import Connection, Pool
from daemon.accounts import CGB, limit_of
from daemon.messages.quiet_hours import USUAL, quiet_of
from daemon.messages.wiring import lacking
from daemon.operator.audience import Audience, Row, checked, rows_of_csv, rows_of_list, rows_of_orders
from daemon.operator.faults import Conflict, NotThere, Unusable
from daemon.operator.keys import masked_key
from daemon.operator.templates import known_for
from daemon.settings.model import Settings
from schemas.api.campaigns import MOST_RECIPIENTS, CampaignIn

Verb: TypeAlias = Literal["start", "pause", "resume", "stop"]

STATUSES: Final = (
    "pending", "queued", "sending", "sent", "delivered", "read", "played", "failed", "uncertain", "skipped", "canceled",
)  # fmt: skip
"""How a recipient may stand, in the order of the reports."""

MOST_LISTED: Final = 200
_LATEST: Final = datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1)

_SHARE: Final = 0.5
_FASTEST: Final = 20.0
_CALLS: Final = {CGB: 4}
"""A message by this provider takes about so many of its calls."""

_FROM: Final[dict[Verb, frozenset[str]]] = {
    "start": frozenset({"draft"}),
    "pause": frozenset({"running"}),
    "resume": frozenset({"paused", "stopped"}),
    "stop": frozenset({"draft", "running", "paused", "stopped"}),
}
_TO: Final[dict[Verb, campaigns.Status]] = {
    "start": "running",
    "pause": "paused",
    "resume": "running",
    "stop": "stopped",
}


class NoSuchCampaign(NotThere):
    """There is no campaign of this id or name."""


class CampaignTaken(Conflict):
    """Its name or its idempotency key was used for another campaign."""


class NotMoved(Conflict):
    """The campaign stands otherwise."""


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """A campaign that was checked and is not stored yet."""

    campaign: Campaign
    audience: Audience

    @property
    def to_send(self) -> int:
        """How many people get a message."""
        return sum(one.error is None for one in self.audience.recipients)


async def plan(
    pool: Pool, settings: Settings, given: CampaignIn, *, actor: str, key: str | None, now: datetime
) -> Plan:
    """Check a campaign whole. Raises: Unusable; BadRows; NotSendable."""
    if given.ended_by(now):
        raise Unusable("ends_at: that time has passed")
    try:
        quiet = quiet_of(given.quiet) if given.quiet is not None else USUAL if given.category == "marketing" else None
    except ValueError as exc:
        raise Unusable(f"quiet: {exc}") from None
    rows = await _rows(pool, settings, given)
    known = await known_for(pool, settings, given.provider, given.account, given.template)
    accounts = await credentials.names(pool)
    people = await asyncio.to_thread(checked, settings, given, rows, now, known, accounts)
    campaign = Campaign(
        id=uuid4(),
        name=given.name,
        provider=people.provider,
        account=given.account,
        template=given.template,
        language=given.language,
        category=given.category,
        consent=given.consent,
        rate=usual_rate(people.provider, settings) if given.rate is None else given.rate,
        quiet_from=None if quiet is None else quiet.start,
        quiet_to=None if quiet is None else quiet.end,
        ends_at=given.ends_at,
        duplicates=len(people.duplicates),
        created_by=actor,
        key=key,
        digest=None if key is None else _digest(given),
    )
    return Plan(campaign, people)


async def _rows(pool: Pool, settings: Settings, given: CampaignIn) -> Sequence[Row]:
    if given.csv is not None:
        return await asyncio.to_thread(rows_of_csv, given.csv)
    if given.recipients is not None:
        return rows_of_list(given.recipients)
    assert given.orders is not None
    members = given.orders.model_dump(exclude={"variables"})
    branches = list(settings.ferryman_message_branches) or None
    found = await stored_audience.buyers(pool, OrdersQuery(**members), branches, MOST_RECIPIENTS + 1)
    return rows_of_orders(found, given.orders.variables)


def usual_rate(provider: str, settings: Settings) -> float:
    """Messages in a second that leave half of the provider's limit to others."""
    limit = limit_of(provider, settings)
    return min(_FASTEST, _SHARE * limit.amount / limit.window_s / _CALLS.get(provider, 1))


async def store(pool: Pool, made: Plan) -> bool:
    """Store a campaign as a draft; false where another one has its key. Raises: CampaignTaken."""
    campaign = made.campaign
    detail = {
        "recipients": len(made.audience.recipients),
        "to_send": made.to_send,
        "category": campaign.category,
        "consent": campaign.consent,
    }
    async with pool.acquire() as conn, conn.transaction():
        if await campaigns.create(conn, campaign, made.audience.recipients):
            await _log(conn, campaign.created_by, "created", campaign.id, detail)
            return True
    if campaign.key is not None and await campaigns.of_key(pool, campaign.key) is not None:
        return False
    raise CampaignTaken("there is a campaign of this name already: see `ferryman campaign list`, or take another name")


async def create(
    pool: Pool, settings: Settings, given: CampaignIn, *, actor: str, key: str | None, now: datetime
) -> tuple[UUID, Plan | None]:
    """Check and store a campaign; returns its id, and what was made, None where an earlier request with *key* has made
    it. Raises: as `plan` and `store`."""
    if key is not None and (found := await _of_key(pool, key, given)) is not None:
        return found, None
    made = await plan(pool, settings, given, actor=actor, key=key, now=now)
    if await store(pool, made):
        return made.campaign.id, made
    assert key is not None
    found = await _of_key(pool, key, given)
    assert found is not None
    return found, None


async def _of_key(pool: Pool, key: str, given: CampaignIn) -> UUID | None:
    """The campaign that *key* stands for. Raises: CampaignTaken, where it came with another request."""
    found = await campaigns.of_key(pool, key)
    if found is not None and found[1] != _digest(given):
        raise CampaignTaken("this Idempotency-Key was used for another campaign: take a new key")
    return None if found is None else found[0]


def _digest(given: CampaignIn) -> bytes:
    return sha256(orjson.dumps(given.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)).digest()


async def move(pool: Pool, settings: Settings, name: str, verb: Verb, actor: str) -> dict[str, Any]:
    """Start, pause, resume or stop a campaign; returns it as it stands then. Raises: NoSuchCampaign; NotMoved;
    Unusable, where its provider is not configured."""
    found = await _find(pool, name)
    if verb in ("start", "resume") and (missing := lacking(settings, found["provider"])):
        raise Unusable(f"provider {found['provider']} is not configured: set {', '.join(missing)}")
    async with pool.acquire() as conn, conn.transaction():
        status = await campaigns.lock(conn, found["id"])
        if status != _TO[verb] or verb in ("start", "stop"):
            await _move(conn, found["id"], verb, status or "gone", actor)
    return await show(pool, str(found["id"]))


async def _move(conn: Connection, id: UUID, verb: Verb, status: str, actor: str) -> None:
    """Raises: NotMoved."""
    if status not in _FROM[verb]:
        raise NotMoved(f"the campaign is {status}: {verb} is for one that is {' or '.join(sorted(_FROM[verb]))}")
    if verb == "resume" and not await campaign_feed.has_pending(conn, id):
        raise NotMoved(f"the campaign is {status}, and nobody waits for their turn")
    detail: dict[str, Any] = {}
    if verb == "pause":
        detail["taken_back"] = await campaign_feed.take_back(conn, id)
    if verb == "stop":
        detail["canceled"] = await campaign_feed.cancel_queued(conn, id)
        detail["canceled"] += await campaign_feed.end_pending(conn, id, "canceled", None)
    await campaigns.move(conn, id, _TO[verb])
    await _log(conn, actor, _DONE[verb], id, detail)


_DONE: Final[dict[Verb, str]] = {"start": "started", "pause": "paused", "resume": "resumed", "stop": "stopped"}


async def _log(conn: Connection, actor: str, done: str, id: UUID, detail: dict[str, Any]) -> None:
    await audit_log.add(conn, [Logged(actor, f"campaign.{done}", f"campaign:{id}", detail)])


async def _find(pool: Pool, name: str) -> dict[str, Any]:
    found = await stored.find(pool, name)
    if found is None:
        raise NoSuchCampaign("there is no campaign of this id or name: see `ferryman campaign list`")
    return found


async def show(pool: Pool, name: str) -> dict[str, Any]:
    """The campaign as JSON: its counts, errors, what waits and why. Raises: NoSuchCampaign."""
    found = await _find(pool, name)
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
    found = await _find(pool, name)
    return [_shown(one) for one in await stored.recipients(pool, found["id"], after, status, limit)]


def _shown(one: dict[str, Any]) -> dict[str, Any]:
    return one | {"message_id": None if one["message_id"] is None else str(one["message_id"])}


async def report(pool: Pool, name: str, *, reveal: bool, actor: str) -> AsyncIterator[dict[str, Any]]:
    """Every recipient. *reveal*: with their phones whole, which is written down. Raises: NoSuchCampaign."""
    found = await _find(pool, name)
    if reveal:
        async with pool.acquire() as conn, conn.transaction():
            await _log(conn, actor, "revealed", found["id"], {})
    async for one in stored.all_recipients(pool, found["id"]):
        yield _shown(one) if reveal else _shown(one) | {"phone": masked_key(one["phone"])}
