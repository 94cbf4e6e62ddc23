"""Campaigns: made, moved on and shown, as the command line and the API do it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID, uuid4

import orjson

from adapters.postgres import audience as stored_audience
from adapters.postgres import audit_log, campaign_feed, campaigns, credentials
from adapters.postgres.audience import OrdersQuery
from adapters.postgres.audit_log import Logged
from adapters.postgres.campaigns import Campaign
from adapters.postgres.messages import Request
from adapters.postgres.pool import Connection, Pool
from daemon.accounts import CGB, limit_of
from daemon.messages.quiet_hours import USUAL, quiet_of
from daemon.operator import sending
from daemon.operator.audience import Audience, Row, Wrong, checked, rows_of_csv, rows_of_list, rows_of_orders
from daemon.operator.campaign_standing import find, show
from daemon.operator.faults import Conflict, Unusable
from daemon.operator.templates import known_for
from daemon.settings.model import Settings
from schemas.api.campaigns import MOST_RECIPIENTS, CampaignIn
from schemas.api.messages import MessageIn

Verb: TypeAlias = Literal["start", "pause", "resume", "stop"]

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
    rows, torn = await _rows(pool, settings, given)
    known = await known_for(pool, settings, given.provider, given.account, given.template)
    accounts = await credentials.names(pool)

    def check(message: MessageIn) -> Request:
        request = sending.check(settings, message, now, known=known, accounts=accounts)
        if request.category == "marketing" and given.category != "marketing":
            raise Unusable("the template is one of marketing: the campaign needs the category marketing, and consent")
        return request

    people = await asyncio.to_thread(checked, given, rows, check, torn)
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


async def _rows(pool: Pool, settings: Settings, given: CampaignIn) -> tuple[Sequence[Row], Sequence[Wrong]]:
    if given.csv is not None:
        return await asyncio.to_thread(rows_of_csv, given.csv)
    if given.recipients is not None:
        return rows_of_list(given.recipients), ()
    assert given.orders is not None
    members = given.orders.model_dump(exclude={"variables"})
    branches = list(settings.ferryman_message_branches) or None
    found = await stored_audience.buyers(pool, OrdersQuery(**members), branches, MOST_RECIPIENTS + 1)
    return rows_of_orders(found, given.orders.variables), ()


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
    found = await find(pool, name)
    if verb in ("start", "resume"):
        sending.require_account(settings, found["provider"], found["account"], await credentials.names(pool))
    async with pool.acquire() as conn, conn.transaction():
        status = await campaigns.lock(conn, found["id"])
        if status != _TO[verb] or verb in ("start", "stop"):
            await _move(conn, found["id"], verb, status or "gone", actor)
    return await show(pool, str(found["id"]))


def _a(status: str) -> str:
    return "a draft" if status == "draft" else status


async def _move(conn: Connection, id: UUID, verb: Verb, status: str, actor: str) -> None:
    """Raises: NotMoved."""
    if status not in _FROM[verb]:
        wanted = " or ".join(_a(one) for one in sorted(_FROM[verb]))
        raise NotMoved(f"the campaign is {_a(status)}: {verb} is for one that is {wanted}")
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
