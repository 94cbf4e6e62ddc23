"""Campaigns, by the clock: the next people get their messages queued, at the campaign's rate.

    campaign_recipients   pending ──► queued ──► as the message stands
                             ▲           │
                             └───────────┘ paused, or quiet hours begin

A message is stored, handed to its worker by the outbox, and noted with its recipient in one transaction. Its id derives
from the campaign and the person. So a crash neither skips nor repeats anybody, and of several processes one at a time
feeds a campaign. Few messages are under way at a time: a pause counts at once, and messages to people who wait are not
behind thousands. At the rate limit of the provider they come after all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import uuid5

import structlog

from adapters.postgres import campaign_feed, messages
from adapters.postgres.bus import outbox
from adapters.postgres.campaign_feed import Due, Fed, Going, Skipped, Waiting
from adapters.postgres.messages import Request
from daemon.bus.worker import Duty, Outside
from daemon.messages.campaign_rules import FEW, When, stride, template_fault, under_way, when
from daemon.messages.content import kind_of, to_json
from daemon.messages.quiet_hours import Quiet
from daemon.messages.requests import OF_CAMPAIGN, event_of
from daemon.messages.rules import OPTED_OUT
from schemas.envelope import event_id
from schemas.messages import Template
from schemas.phone import Phone
from schemas.phone_places import time_zones_of

if TYPE_CHECKING:
    from adapters.postgres.pool import Connection

EVERY_S: Final = 0.5
AT_ONCE: Final = 500
"""Recipients that one round looks at, of each campaign."""

NO_SLOT: Final = "quiet hours: no later time is before the campaign's end"
OVER: Final = "the campaign's end came before their turn"


log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Round:
    """What one round has decided."""

    requests: list[Request] = field(default_factory=list)
    fed: list[Fed] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def duties(outside: Outside, sends: Callable[[str, str], bool]) -> Sequence[Duty]:
    """Feeding, in a process of this domain. *sends*: whether there is such an account of such a provider; where there
    is none, campaigns wait."""

    async def feed() -> None:
        for id in await campaign_feed.running(outside.pool):
            async with outside.pool.acquire() as conn, conn.transaction():
                campaign = await campaign_feed.hold(conn, id)
                if campaign is not None and sends(campaign.provider, campaign.account):
                    await _feed(conn, campaign, outside.settings.ferryman_timezone)

    return (Duty("campaigns", feed, EVERY_S),)


async def _feed(conn: Connection, campaign: Going, home: str) -> None:
    """One round of a campaign that is locked."""
    if (code := template_fault(await campaign_feed.last_verdicts(conn, campaign, FEW))) is not None:
        await campaign_feed.take_back(conn, campaign.id)
        reason = f"the template was refused {FEW} times in a row (code {code}): mend it, then resume the campaign"
        await campaign_feed.finish(conn, campaign.id, "stopped", reason)
        log.warning("campaign.stopped", campaign=str(campaign.id), provider=campaign.provider, code=code)
        return
    await campaign_feed.take_back(conn, campaign.id, late_by=campaign.now)
    if campaign.ends_at is not None and campaign.ends_at <= campaign.now:
        await campaign_feed.end_pending(conn, campaign.id, "skipped", OVER)
    going = await campaign_feed.under_way(conn, campaign.id)
    places = stride(campaign.since, campaign.now, campaign.rate)
    room = min(places.places, under_way(campaign.rate) - going)
    if room > 0:
        found = decide(campaign, await campaign_feed.due(conn, campaign, AT_ONCE), room, home)
        for request in found.requests:
            await messages.request(conn, request)
        await campaign_feed.record(conn, campaign.id, found.fed, found.waiting, found.skipped)
        await outbox.leave(conn, [event_of(one, campaign.now) for one in found.requests])
        await campaign_feed.advance(conn, campaign.id, places.after(len(found.fed), campaign.rate))
        going += len(found.fed)
    if not going and not await campaign_feed.has_pending(conn, campaign.id):
        await campaign_feed.finish(conn, campaign.id, "done")


def decide(campaign: Going, due: Sequence[Due], room: int, home: str) -> _Round:
    """What becomes of those whose turn it is, until *room* of them get a message now. *home*: the zone of people of
    whose phone none is known."""
    found, quiet, known = _Round(), _quiet(campaign), dict[tuple[str, ...], When]()
    for one in due:
        if len(found.fed) == room:
            break
        if one.opted_out:
            found.skipped.append(Skipped(one.line, OPTED_OUT))
            continue
        zones = () if quiet is None else time_zones_of(Phone.parse_e164(one.phone))
        if zones not in known:
            known[zones] = when(campaign.now, quiet, zones, home)
        at, until = known[zones]
        if at is None or (campaign.ends_at is not None and at >= campaign.ends_at):
            found.skipped.append(Skipped(one.line, NO_SLOT))
        elif at > campaign.now:
            found.waiting.append(Waiting(one.line, at))
        else:
            request = _request(campaign, one)
            found.requests.append(request)
            found.fed.append(Fed(one.line, request.id, _earlier(until, campaign.ends_at)))
    return found


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(filter(None, (one, other)), default=None)


def _quiet(campaign: Going) -> Quiet | None:
    if campaign.quiet_from is None or campaign.quiet_to is None:
        return None
    return Quiet(campaign.quiet_from, campaign.quiet_to)


def _request(campaign: Going, one: Due) -> Request:
    content = Template(campaign.template, campaign.language, one.variables)
    id = uuid5(campaign.id, str(one.line))
    return Request(
        id=id,
        provider=campaign.provider,
        account=campaign.account,
        phone=one.phone,
        kind=kind_of(content),
        content=to_json(content),
        purpose=f"{OF_CAMPAIGN}{campaign.id}",
        # each time another event: one that was taken back has ended with nothing to be done
        event_id=event_id("ferryman", "message.requested", str(id), f"feed {one.feeds}"),
        category=campaign.category,
    )
