"""The sweep: messages that no webhook has brought are found in the CRM, and come the way of those that one has.

A CRM calls once and never again, so what came while we were away, or what its call was lost of, is lost but for this.
When a process starts, and every CHATWOOT_SWEEP_MINUTES, one process asks what has changed since the last complete look,
and reads the messages of those conversations whose newest one it has not seen. Where nothing has changed that is one
call. The event of a message is the one that its webhook makes, with the same id and the same data: whichever comes
second is a duplicate.

Ids of messages count up, so up to where all was looked at is a number, and no clock decides but for the first time.
Nothing is found before the installation's first sweep, less a few minutes: the history of a CRM is not imported.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from adapters.postgres import sweeps
from adapters.postgres.bus import outbox
from schemas.errors import FerrymanError, Refused, Transient

if TYPE_CHECKING:
    from adapters.conversation_ports import History, Talk
    from adapters.postgres.pool import Pool
    from adapters.postgres.sweeps import Turn
    from daemon.bus.worker import Clock
    from schemas.envelope import Event

FIRST_S: Final = 600.0
"""So far before the installation's first try messages are found."""

OVERLAP_S: Final = 300.0
"""What has changed so long before the last complete look is asked for again: it may have been stored late."""

TRIED_S: Final = 60.0
"""After so many seconds a sweep that has failed is tried again."""

HOLD_S: Final = 60.0
"""For so long a process has the turn after its last sign: longer than any call takes."""

SIGN_S: Final = 5.0

TOGETHER_S: Final = 1.0
"""A sweep that has begun so short before a process started is one of its start: several may start together."""

SETTLE_S: Final = 2.0
"""So long what is not known is waited for: its webhook may be on its way, or the journal behind."""

MOST_ROUNDS: Final = 30
"""So many times at most."""

CHUNK: Final = 500
"""Events that are held at a time."""

MOST_FAILURES: Final = 3
"""Conversations in a row that cannot be read."""

MOST_REMEMBERED: Final = 20_000
"""Conversations, and events, that a process remembers having seen to."""

log = structlog.get_logger(__name__)

Hurry = Callable[["Sequence[Event]", Sequence[int]], Awaitable[None]]
"""As of `Outside`."""


class Swept(NamedTuple):
    """What a sweep has done: *asked* conversations whose messages were read; *found* messages of people, and *replies*
    of agents, that nothing had brought; *newest*: all messages up to this id were looked at."""

    asked: int
    found: int
    replies: int
    newest: int


@dataclass(slots=True)
class _Run:
    """A sweep under way. *waiting*: events that are still to be brought. *read*: conversations whose events are among
    those, or were brought."""

    newest: int
    asked: int = 0
    found: int = 0
    replies: int = 0
    waiting: list[Event] = field(default_factory=list)
    read: list[Talk] = field(default_factory=list)


class LostTurn(Exception):
    """Another process has the turn by now."""


class Sweep:
    """The sweep of one process, of the account *place* in *history*. *me*: the name of the process. It remembers which
    conversations it has read up to where, so one that comes up again unchanged costs no call."""

    def __init__(
        self, history: History, pool: Pool, hurry: Hurry, now: Clock, *, place: str, me: str, settle_s: float = SETTLE_S
    ) -> None:
        self._history = history
        self._pool = pool
        self._hurry = hurry
        self._now = now
        self._place = place
        self._me = me
        self._settle_s = settle_s
        self._began = time.monotonic()
        self._had_turn = False
        self._signed = 0.0
        self._read: dict[int, int] = {}
        """Conversation -> its newest message when it was read."""
        self._brought: dict[str, None] = {}
        """The ids of events that this process has brought: the journal may be far behind."""

    async def act(self, every_s: float) -> Swept | None:
        """Sweep, where it is due; None where it is not. Raises: FerrymanError where it has not come to its end."""
        turn = await sweeps.take(
            self._pool,
            self._place,
            self._me,
            first_s=FIRST_S,
            hold_s=HOLD_S,
            up_s=None if self._had_turn else time.monotonic() - self._began + TOGETHER_S,
            every_s=every_s,
            tried_s=min(TRIED_S, every_s),
        )
        if turn is None:
            return None
        self._had_turn = True
        try:
            swept = await self._sweep(turn)
            ours = await sweeps.finish(
                self._pool, self._place, self._me, newest=swept.newest, found=swept.found, overlap_s=OVERLAP_S
            )
        except LostTurn:
            return None
        except FerrymanError as error:
            await sweeps.fail(self._pool, self._place, self._me, error.code or type(error).__name__)
            raise
        except asyncio.CancelledError:
            with suppress(Exception):  # the process ends, and its turn runs out by itself
                await sweeps.let_go(self._pool, self._place, self._me)
            raise
        return swept if ours else None

    async def _sweep(self, turn: Turn) -> Swept:
        before = turn.next_floor if turn.floor is not None else await self._history.newest()
        talks = await self._history.changed(round(turn.age_s + OVERLAP_S), turn.floor or 0)
        run, failures = _Run(newest=max([before, *(talk.newest or 0 for talk in talks)])), 0
        failure: FerrymanError | None = None
        for talk in sorted(talks, key=lambda one: one.newest or 0):
            if self._is_settled(talk, turn):
                continue
            run.asked += 1
            try:
                await self._look_into(talk, turn, run)
            except Refused as error:
                log.warning("sweep.conversation_refused", conversation=talk.id, error=error.code)
            except Transient as error:
                failures, failure = failures + 1, error
                if failures >= MOST_FAILURES:
                    break
                continue
            failures = 0
        await self._bring(run)
        if failure is not None:
            raise failure
        return Swept(run.asked, run.found, run.replies, run.newest)

    async def _look_into(self, talk: Talk, turn: Turn, run: _Run) -> None:
        """Read *talk*, and bring what waits where that is much."""
        if turn.floor is None:
            pages = self._history.latest(talk, turn.since, self._now())
        else:
            pages = self._history.messages(talk, turn.floor, self._now())
        async for page in pages:
            await self._sign()
            if talk.newest is None:
                run.newest = max(run.newest, page.newest)
            run.waiting += page.events
            if len(run.waiting) >= CHUNK:
                await self._bring(run)
        run.read.append(talk)

    def _is_settled(self, talk: Talk, turn: Turn) -> bool:
        """Whether nothing can be missing in *talk*: its newest message was looked at."""
        return talk.newest is not None and (talk.newest <= (turn.floor or 0) or self._read.get(talk.id) == talk.newest)

    async def _bring(self, run: _Run) -> None:
        """Bring what waits and has not come yet: to the outbox, whence it goes the way of all events. Only then the
        conversations that were read to their ends are remembered."""
        unknown = await self._settled(await self._unknown(run.waiting))
        await self._sign()
        if unknown:
            async with self._pool.acquire() as conn, conn.transaction():
                seqs = await outbox.emit(conn, unknown)
            self._brought |= dict.fromkeys(event.id for event in unknown)
            _shorten(self._brought)
            found = sum(event.type == "message.received" for event in unknown)
            run.found, run.replies = run.found + found, run.replies + len(unknown) - found
            await self._hurry(unknown, seqs)
        for talk in run.read:
            self._read.pop(talk.id, None)
            if talk.newest is not None:
                self._read[talk.id] = talk.newest
        _shorten(self._read)
        run.waiting, run.read = [], []

    async def _settled(self, unknown: list[Event]) -> list[Event]:
        """What is not known after a while either. As long as the journal comes upon some of them it is waited for."""
        for _ in range(MOST_ROUNDS):
            if not unknown:
                break
            await asyncio.sleep(self._settle_s)
            await self._sign()
            before, unknown = len(unknown), await self._unknown(unknown)
            if len(unknown) == before:
                break
        return unknown

    async def _unknown(self, events: Sequence[Event]) -> list[Event]:
        ids = list(dict.fromkeys(event.id for event in events if event.id not in self._brought))
        there = await sweeps.known(self._pool, ids) if ids else set()
        wanted = {id for id in ids if id not in there}
        return list({event.id: event for event in events if event.id in wanted}.values())

    async def _sign(self) -> None:
        """Keep the turn. Raises: LostTurn."""
        if time.monotonic() - self._signed < SIGN_S:
            return
        self._signed = time.monotonic()
        if not await sweeps.hold(self._pool, self._place, self._me, HOLD_S):
            raise LostTurn


def _shorten(remembered: dict[int, int] | dict[str, None]) -> None:
    """Forget the oldest of what is too much."""
    while len(remembered) > MOST_REMEMBERED:
        del remembered[next(iter(remembered))]  # type: ignore[arg-type]
