"""The webhook by which Chatwoot tells us: made, or put right, and its secret kept."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from adapters.chatwoot.setup import ChatwootSetup, Subscription
from adapters.chatwoot.source import SOURCE
from daemon.operator.steps import Step
from daemon.operator.webhook_secret import Keeper
from schemas.errors import FerrymanError

EVENTS: Final = (
    "contact_created",
    "contact_updated",
    "conversation_created",
    "conversation_status_changed",
    "conversation_updated",
    "message_created",
    "message_updated",
)
"""What the webhook is to tell. Others are told to nobody's use."""

NAME: Final = "Ferryman"
PART: Final = "webhook"
_PORTS: Final = {"http": 80, "https": 443}


async def subscribe(
    calls: ChatwootSetup, url: str, keeper: Keeper, *, unsigned: bool, dry_run: bool
) -> AsyncIterator[Step]:
    """The steps to a webhook that posts to *url*, which is our own. *unsigned*: its calls need no proof. Raises: what
    the calls raise."""
    found = [one for one in await calls.webhooks() if same_place(one.url, url)]
    found.sort(key=lambda one: (one.url != url, one.id))
    mine, text = next(iter(found), None), f"{url} is told of {len(EVENTS)} events"
    if mine is None:
        if dry_run:
            yield Step(PART, "planned", f"{url} would be told of {len(EVENTS)} events")
            yield Step("secret", "planned", f"the one that Chatwoot makes would be {keeper.would}")
            return
        mine = await calls.make_webhook(url, EVENTS, NAME)
        yield Step(PART, "made", text)
    elif not (why := _wrong(mine, url)):
        yield Step(PART, "ok", text)
    elif dry_run:
        yield Step(PART, "planned", f"it would be put right: {why}")
    else:
        changed = await calls.change_webhook(mine.id, url, EVENTS)
        yield Step(PART, "changed", f"it is put right: {why}")
        mine = replace(changed, secret=changed.secret or mine.secret)
    for step in _doubles(found[1:]):
        yield step
    yield await _secret(mine, keeper, unsigned=unsigned, dry_run=dry_run)


def _wrong(mine: Subscription, url: str) -> str:
    """What is wrong with the webhook; "" for nothing."""
    lacks, spare = sorted(set(EVENTS) - mine.events), sorted(mine.events - set(EVENTS))
    parts = [
        f"it posts to {mine.url} in place of {url}" if mine.url != url else "",
        f"it lacks {', '.join(lacks)}" if lacks else "",
        f"it tells of {', '.join(spare)}, which is not used" if spare else "",
    ]
    return "; ".join(part for part in parts if part)


def _doubles(others: Sequence[Subscription]) -> list[Step]:
    do = "delete it: Chatwoot → Settings → Integrations → Webhooks"
    return [Step(PART, "warn", f"{one.url} is the same place, so every event comes twice", do) for one in others]


async def _secret(mine: Subscription, keeper: Keeper, *, unsigned: bool, dry_run: bool) -> Step:
    if not mine.secret and unsigned:
        return Step("secret", "ok", "this Chatwoot signs nothing, and FERRYMAN_ALLOW_UNSIGNED lets it")
    if not mine.secret:
        do = "update Chatwoot to 4.11.2 or later, or set FERRYMAN_ALLOW_UNSIGNED=chatwoot"
        return Step("secret", "error", "this Chatwoot tells none, so its webhooks prove nothing", do)
    if (where := await keeper.where(mine.secret)) is not None:
        return Step("secret", "ok", where)
    if dry_run:
        return Step("secret", "planned", f"it would be {keeper.would}")
    try:
        return Step("secret", "made", await keeper.keep(mine.secret))
    except FerrymanError as error:
        do = "or run this with --reveal, and set CHATWOOT_WEBHOOK_SECRET by hand"
        return Step("secret", "error", str(error), do)


def address(public_url: str) -> str:
    """Where Chatwoot reaches us."""
    return public_url.rstrip("/") + SOURCE.path


def same_place(one: str, other: str) -> bool:
    """Whether two addresses are spellings of one: they may differ in scheme, case of the host, the port that goes
    without saying, slashes, and a query."""
    return _place(one) == _place(other)


def _place(url: str) -> tuple[str, int | None, str]:
    try:
        parts = urlsplit(url.strip())
        port, host = parts.port, (parts.hostname or "").rstrip(".")
    except ValueError:
        return url, None, ""
    return host, None if port in _PORTS.values() else port, re.sub("/+", "/", parts.path).rstrip("/")
