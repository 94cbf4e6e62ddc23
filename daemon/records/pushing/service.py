"""Records, as everything in this process writes them."""

from __future__ import annotations

import asyncio
from typing import Final

from adapters.postgres.pool import store_is_down, within
from adapters.postgres.records import marks
from adapters.postgres.records.feed import Head
from adapters.postgres.records.writing import Overtaken
from daemon.bus.batcher import Batcher, Full
from daemon.bus.worker import Outside
from daemon.records.bell import Bell
from daemon.records.erasing import erase
from daemon.records.models.rules import MODELS, models_of
from daemon.records.pulling.cursor import Unreadable, read_cursor
from daemon.records.pushing.applying import CONTENDED, Applying
from daemon.records.pushing.batch import Push, opened
from daemon.records.pushing.counting import Counting
from daemon.records.pushing.publishing import Publishing
from daemon.records.pushing.pushes import PushIn, PushOut, Refused
from schemas.principals import Principal
from schemas.records.answers import Answer
from schemas.records.operation import Operation

TOGETHER: Final = 4
"""Pushes that one statement takes. While it writes them, the next ones are decided: more of them would wait for one
another."""

WAITING: Final = 500
"""Pushes that may wait for their turn. What comes beyond them waits where it is safe: with its sender."""

ANSWER_S: Final = 15.0
"""A push is answered within it. Where the store stands still, each turn before it may take its whole time limit."""


class Records:
    """Applies operations. One per process: what arrives together is written together. *woke*: rings after each commit
    that has changed records."""

    def __init__(self, outside: Outside) -> None:
        settings = outside.settings
        self.woke = Bell()
        self.models = models_of(outside.rules(MODELS), settings.sync_conflict_strategy)
        self._outside = outside
        self._publishing = Publishing(outside.hurry, self.woke)
        self._counting = Counting(outside.metrics)
        applying = Applying(
            outside.pool,
            self.models,
            outside.now,
            self._publishing,
            self._counting,
            edge=settings.sync_upstream_url is not None,
        )
        self._batcher: Batcher[Push, PushOut | Refused] = Batcher(
            applying.run,
            size=lambda push: push.asked.size,
            culprit=lambda exc: not store_is_down(exc),
            largest=TOGETHER,
            waiting=WAITING,
        )
        outside.at_end(self._publishing.stop)

    async def push(self, principal: Principal, asked: PushIn) -> PushOut:
        """Apply the operations of a replica. Raises: Refused; as the store, TimeoutError after ANSWER_S too, and then
        what was applied is a `duplicate` when it is sent again."""
        now = self._outside.now()
        self._counting.clock(asked.sent_at, now)
        async with asyncio.timeout(ANSWER_S):
            if asked.cursor is not None:
                await within(ANSWER_S, self._check(asked.cursor))
            return await self._applied(opened(principal, asked, now))

    async def write(self, principal: Principal, operation: Operation, peer: str | None = None) -> Answer:
        """Apply one operation. *peer*: through which it comes; None: its principal stands for it. Raises: Refused; as
        the store."""
        asked = PushIn(operations=(operation,))
        async with asyncio.timeout(ANSWER_S):
            done = await self._applied(opened(principal, asked, self._outside.now(), peer))
        return done.results[0]

    async def _applied(self, push: Push) -> PushOut:
        try:
            done = await self._batcher.submit(push)
        except Full:
            detail = "too many pushes wait here: send it again in a second"
            raise Refused(kind="busy", detail=detail, retry_after_s=1.0) from None
        if isinstance(done, Refused):
            raise done
        return done

    async def _check(self, text: str) -> None:
        """Raises: Refused, where the history that the cursor *text* is of is not that of this database any more."""
        try:
            cursor = read_cursor(text)
        except Unreadable as exc:
            raise Refused(kind="malformed", detail=f"{exc}: send what the last pull gave") from None
        feed, epoch, seq, horizon, known = await marks.standing(self._outside.pool, cursor.mseq, cursor.mark)
        reason = cursor.expired(Head(feed, epoch, seq, horizon, known, None, None))
        if reason in ("feed", "epoch"):
            detail = "this server's history is another than the one that was pulled: pull from the beginning first"
            raise Refused(kind="cursor-expired", detail=detail, members={"reason": reason})

    async def erase(self, model: str, record_id: str, *, by: str) -> bool:
        """Forget what a record holds, for good: it becomes a tombstone that never revives; its conflicts, its base and
        its operations for an upstream go too. Whether there was one that was not erased before. *by*: the person, for
        the audit log. Raises: Refused where others change it all the time; as the store."""
        try:
            erased = await erase(self._outside.pool, (model, record_id), self._outside.now(), origin="erase", by=by)
        except Overtaken:
            raise Refused(kind="busy", detail=CONTENDED, retry_after_s=1.0) from None
        if erased is None:
            return False
        self._publishing.tell([erased.event], [erased.seq])
        return True
