"""By the clock: whether messages that may have been sent were sent, as far as their provider lists what it has taken.

What is found there is sent. What is not found stays uncertain, with that as evidence for the operator: a list may be
late, and a second copy cannot be taken back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from adapters.ports import Reconciler, Several
from adapters.postgres import deliveries, evidence, messages
from adapters.postgres.deliveries import Sent
from adapters.postgres.evidence import Doubted
from adapters.postgres.messages import Ended
from adapters.postgres.pool import Pool
from daemon.bus.worker import Clock, Duty
from daemon.messages.content import from_json, parted
from schemas.errors import FerrymanError
from schemas.messages import OutboundMessage, Taken
from schemas.phone import Phone

EVERY_S: Final = 5.0
AT_ONCE: Final = 20
"""Messages that one round looks for, one after the other: it shares the rate limit with what is to be sent."""

log = structlog.get_logger(__name__)


def reconciling(pool: Pool, senders: Mapping[tuple[str, str], object], providers: Sequence[str], now: Clock) -> Duty:
    """The duty. *senders*: by provider and account. *providers*: those whose senders look."""

    async def look() -> None:
        for one in await evidence.due(pool, providers, AT_ONCE):
            sender = senders.get((one.provider, one.account))
            if isinstance(sender, Reconciler):
                await look_for(pool, sender, one, now)

    return Duty("uncertain-messages-looked-for", look, EVERY_S)


async def look_for(pool: Pool, sender: Reconciler, one: Doubted, now: Clock) -> None:
    """Look for one message, and keep what was found."""
    try:
        content, _ = parted(from_json(one.kind, one.content))
        to = Phone.parse_e164(one.phone)
        message = OutboundMessage(id=one.id, to=to, content=content, conversation=one.conversation)
        taken = await sender.look_for(message, one.at)
        candidates: Sequence[Taken] = () if taken is None else (taken,)
    except Several as error:
        candidates = error.candidates
    except FerrymanError as error:
        await evidence.keep(pool, one.id, None, f"it was looked for, and {error}", now())
        return
    await _settle(pool, one, candidates, now())


async def _settle(pool: Pool, one: Doubted, candidates: Sequence[Taken], now: datetime) -> None:
    """Let the message be sent where one candidate is left that is of no other message of ours."""
    ids = [taken.provider_id for taken in candidates if taken.provider_id is not None]
    after = _in_words(now - one.at)
    async with pool.acquire() as conn, conn.transaction():
        await deliveries.lock(conn, ids)
        theirs = await evidence.of_others(conn, one.provider, ids, one.id)
        left = [id for id in ids if id not in theirs]
        if not left:
            await evidence.keep(conn, one.id, False, f"not found in {one.provider}'s list {after} after the call", now)
            return
        if len(left) > 1:
            text = f"{len(left)} messages of {one.provider}'s list may be it, {after} after the call"
            await evidence.keep(conn, one.id, None, text, now)
            return
        await evidence.keep(conn, one.id, True, f"found in {one.provider}'s list {after} after the call", now)
        rows = [Ended(id=one.id, status="sent", at=one.at, provider_id=left[0])]
        await messages.end(conn, [*rows, *await deliveries.link(conn, [Sent(one.id, one.provider, left[0])])])
    log.info("message.found", provider=one.provider, message_id=str(one.id))


def _in_words(age: timedelta) -> str:
    seconds = round(age.total_seconds())
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}"
    return f"{seconds} s"
