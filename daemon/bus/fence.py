"""The fence: nothing of a person who was erased comes in again.

What the intake takes in for such a person goes on without its data: it counts, is journaled as a blank and ends
skipped, with the reason `erased`. What was under way ends so too, before its handler begins. A new order of the person
lifts the fence: an order that was not known at the erasure, and was placed after it.

A process reads the marks again within FENCE_S; what may be fenced is asked of Postgres itself, so a fence that was
lifted a moment ago holds nobody up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson
import structlog

from adapters.postgres import erasures
from adapters.postgres.erasures import Mark
from adapters.postgres.pool import Pool, store_is_down
from daemon.stores.pepper import digest_of, known
from schemas.envelope import Event
from schemas.moments import moment

if TYPE_CHECKING:
    from daemon.settings.model import Settings

FENCE_S: Final = 1.0
"""How often a process looks whether somebody was erased."""

ASK_S: Final = 0.5
"""Longest wait of the intake for Postgres; without its answer the data go on, and the workers ask again."""

REASON: Final = "erased"
SUBJECT: Final = "erased:"
"""How the key of a blank begins; the number of the erasure follows."""

BLANK: Final = b"null"

log = structlog.get_logger(__name__)


class Erased(NamedTuple):
    """An event is of the person of *erasure*. *anew*: it is the new order by which the person begins anew."""

    erasure: int
    anew: bool = False


def blank(event: Event, erasure: int) -> Event:
    """*event* without anything of a person."""
    return event._replace(subject=f"{SUBJECT}{erasure}", data=BLANK, dataref="", traceparent="")


def is_blank(event: Event) -> bool:
    """Whether *event* has been made a blank."""
    return event.subject.startswith(SUBJECT)


class Fence:
    """The marks of erased people, as this process knows them. *settings*: for the key that opens their secret."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._marks: dict[bytes, Mark] = {}
        self._pepper = b""
        self._version = ""

    async def load(self) -> None:
        """Read the marks, where they have changed. Raises: NoKey, NotOpened; as the store."""
        version = await erasures.version(self._pool)
        if version == self._version:
            return
        self._pepper = await known(self._pool, self._settings) or b""
        self._marks = {mark.digest: mark for mark in await erasures.marks(self._pool)} if self._pepper else {}
        self._version = version
        log.info("fence.loaded", marks=len(self._marks))

    def may_hold(self, event: Event) -> bool:
        """Whether *event* may be an erased person's: without I/O."""
        return bool(self._marks) and any(digest in self._marks for digest in self._digests(event))

    async def judge(self, event: Event) -> Erased | None:
        """Whose *event* is, as Postgres knows it now; None: of nobody who was erased. Raises: as the store."""
        digests = self._digests(event)
        return self._judged(event, digests, await erasures.in_force(self._pool, digests))

    async def blanked(self, events: Sequence[Event]) -> list[Event]:
        """*events* as the intake may keep them. Where Postgres does not answer they go on whole."""
        return [await self._kept(event) if self.may_hold(event) else event for event in events]

    async def lift(self, event: Event, erased: Erased) -> None:
        """The person begins anew with the order *event*. Raises: as the store."""
        key = digest_of(self._pepper, "key", event.subject)
        await erasures.lift(self._pool, erased.erasure, key, event.subject)
        self._marks.pop(key, None)
        log.info("fence.lifted", erasure=erased.erasure)

    async def _kept(self, event: Event) -> Event:
        try:
            async with asyncio.timeout(ASK_S):
                erased = await self.judge(event)
        except Exception as exc:
            if not (isinstance(exc, TimeoutError) or store_is_down(exc)):
                raise
            return event
        return event if erased is None or erased.anew else blank(event, erased.erasure)

    def _digests(self, event: Event) -> list[bytes]:
        digests = [digest_of(self._pepper, "key", event.subject)]
        if event.type == "order.received" and (order_id := _order_id(event.data)) is not None:
            digests.append(digest_of(self._pepper, "order", order_id))
        return digests

    def _judged(self, event: Event, digests: Sequence[bytes], found: Sequence[Mark]) -> Erased | None:
        by_digest = {mark.digest: mark for mark in found}
        if (order := next((by_digest[d] for d in digests[1:] if d in by_digest), None)) is not None:
            return Erased(order.erasure)  # of the past for good, whoever has its phone by now
        if (key := by_digest.get(digests[0])) is None:
            return None
        anew = event.type == "order.received" and not event.replayid and _placed(event) >= key.at
        return Erased(key.erasure, anew=anew)


def _order_id(data: bytes) -> str | None:
    """As `schemas.orders.order_id_of`, of what the intake has read before, in a tenth of its time."""
    try:
        value = orjson.loads(data)["order"]["id"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return str(value).strip() or None


def _placed(event: Event) -> datetime:
    """When the order of *event* was placed, never later than it arrived."""
    try:
        form = orjson.loads(event.data)["form"]
        told = moment(form["created_at"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        told = None
    return event.time if told is None else min(told, event.time)
