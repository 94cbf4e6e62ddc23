"""Whether numbers are on WhatsApp, for an operator: what is known, and asking the checkers now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import orjson

from adapters.channel import Channels
from adapters.postgres import whatsapp_checks
from adapters.postgres.bus import outbox, pauses
from adapters.postgres.pool import Pool
from adapters.redis import streams
from daemon.accounts import CGB, WHAPI
from daemon.bus.worker import Outside, utc_now
from daemon.contacts.checking import Checkers, find_out
from daemon.contacts.validation import can_be_mobile, heavier, is_news
from daemon.contacts.whatsapp_validation import fact
from daemon.contacts.wiring import checkers, terms_of
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from schemas.envelope import Event, event_id
from schemas.errors import FerrymanError, Transient
from schemas.identity import key
from schemas.phone import Phone, parse_phone
from schemas.whatsapp import Evidence

AT_ONCE: Final = 50
"""Numbers that are asked for side by side, and kept together: an interruption costs the answers of one step."""

NOT_A_NUMBER: Final = "it is no phone number: write it with + and the country code"

_TIMEOUT_S: Final = 5.0
_LIMITED_S: Final = 5.0


class NoChecker(FerrymanError):
    """There is no checker to ask."""


@dataclass(frozen=True, slots=True, repr=False)
class Standing:
    """What is known of a number, as *typed*. *phone*: None where it is none. *problem*: why it could not be asked for,
    or is no number."""

    typed: str
    phone: Phone | None
    known: Evidence | None = None
    problem: str | None = None

    def document(self, now: datetime) -> dict[str, Any]:
        """As JSON. The evidence is told also where it has expired, and then `has_whatsapp` is null."""
        known = self.known
        return {
            "number": self.typed,
            "phone": None if self.phone is None else self.phone.e164,
            "has_whatsapp": None if known is None else known.answer(now),
            "source": None if known is None else known.source,
            "checked_at": None if known is None else known.at,
            "expires_at": None if known is None else known.expires_at,
            "problem": self.problem,
        }


async def look_up(pool: Pool, settings: Settings, typed: Iterable[str], now: datetime) -> list[Standing]:
    """What is known of each number, or follows from the rules of numbering alone; in the order in which they were
    *typed*."""
    read = [Standing(text, parse_phone(text)) for text in typed]
    phones = [one.phone for one in read if one.phone is not None]
    known = dict(zip(phones, await whatsapp_checks.known_of(pool, phones), strict=True)) if phones else {}
    found = []
    for one in read:
        if one.phone is None:
            found.append(replace(one, problem=NOT_A_NUMBER))
            continue
        evidence = known[one.phone]
        if evidence is None and not can_be_mobile(one.phone):
            evidence = terms_of(settings).evidence(one.phone, False, "offline", now)
        found.append(replace(one, known=evidence))
    return found


async def ask(
    pool: Pool, settings: Settings, redis_url: str, standings: Sequence[Standing], told: Callable[[int, int], None]
) -> list[Standing]:
    """Ask the checkers for the numbers of *standings* now, and keep what they say; a new answer is announced by a
    running daemon. *told* hears how many have been asked, of how many. Raises: NoChecker.
    """
    numbers = list(dict.fromkeys(one.phone for one in standings if one.phone is not None))
    ends: dict[Phone, Standing] = {}
    async with _opened(pool, settings, redis_url) as asked:
        for at in range(0, len(numbers), AT_ONCE):
            step = numbers[at : at + AT_ONCE]
            known = await whatsapp_checks.known_of(pool, step)
            pairs = zip(step, known, strict=True)
            found = await asyncio.gather(*(_one(asked, settings, phone, before) for phone, before in pairs))
            await _keep(pool, found, known)
            ends |= dict(zip(step, found, strict=True))
            told(len(ends), len(numbers))
    return [one if one.phone is None else replace(ends[one.phone], typed=one.typed) for one in standings]


async def _one(asked: Checkers, settings: Settings, phone: Phone, before: Evidence | None) -> Standing:
    """The standing of *phone* with what the checkers say. Waits as long as a rate limit has no place."""
    while True:
        try:
            found = await find_out(asked, terms_of(settings), phone, before, utc_now())
        except Transient as exc:
            if not exc.limited:
                return Standing("", phone, before, str(exc))
            await asyncio.sleep(exc.retry_after_s or _LIMITED_S)
        except FerrymanError as exc:
            return Standing("", phone, before, str(exc))
        else:
            return Standing("", phone, before if found is None else heavier(before, found))


async def _keep(pool: Pool, found: Sequence[Standing], known: Sequence[Evidence | None]) -> None:
    """Write what was found new, with its announcements."""
    now = utc_now()
    new = [
        (one.known, before)
        for one, before in zip(found, known, strict=True)
        if one.known is not None and one.known is not before
    ]
    events = [_validated(evidence, now) for evidence, before in new if is_news(before, evidence, now)]
    async with pool.acquire() as conn, conn.transaction():
        await whatsapp_checks.keep(conn, [evidence for evidence, _ in new])
        if events:
            await outbox.leave(conn, events)


def _validated(told: Evidence, now: datetime) -> Event:
    return Event(
        id=event_id("ferryman", "contact.validated", told.phone.e164, told.source, told.at.isoformat()),
        type="contact.validated",
        source="ferryman",
        subject=key(phone=told.phone),
        time=now,
        data=orjson.dumps(fact(told)),
    )


@asynccontextmanager
async def _opened(pool: Pool, settings: Settings, redis_url: str) -> AsyncIterator[Checkers]:
    """The checkers, behind the gates and the rate limits of the daemon; a channel that an operator has paused is not
    called. Raises: NoChecker."""
    from adapters.http import open_session

    redis = streams.client(redis_url, timeout_s=_TIMEOUT_S, connections=2)
    try:
        async with open_session() as session:
            channels = Channels((CGB, WHAPI))
            for name in await pauses.paused(pool):
                if (channel := channels.get(name)) is not None:
                    channel.paused = True
            outside = Outside(
                settings=settings,
                secret=InForce(settings).secret,
                pool=pool,
                redis=redis,
                session=session,
                channels=channels,
                metrics=Metrics(()),
                now=utc_now,
            )
            made = checkers(outside)
            if not made:
                raise NoChecker("there is no checker: set WHAPI_TOKEN, or CGB_API_KEY with CGB_API_STYLE=documented")
            yield made
    finally:
        await redis.aclose()
