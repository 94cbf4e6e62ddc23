"""The deliveries to one subscriber, while this process has it: those that are due, several at a time, one of a key at
a time, until nothing is due or the subscriber is to be left alone."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from adapters import permit
from adapters.permit import Permit
from adapters.postgres import subscribers, webhook_deliveries
from adapters.postgres.pool import Pool
from adapters.postgres.subscribers import Fortune, Subscriber
from adapters.postgres.webhook_deliveries import Due
from adapters.webhook_ports import Answer, Deliverer
from daemon.bus.worker import Clock
from daemon.subscribers.metrics import DELIVERIES, SECONDS
from daemon.subscribers.notices import disable_gone
from daemon.subscribers.retries import BREAKS_AT, Chance, Verdict, fared, judged
from daemon.subscribers.secrets import Secret, in_force
from daemon.telemetry.metrics import Metrics
from schemas.errors import LeaseLost

AT_ONCE: Final = 10
"""Deliveries to one subscriber that are under way at a time."""

AHEAD: Final = 8
"""So many times AT_ONCE are read at a time."""


def by_chance() -> float:
    """See Chance."""
    return random.uniform(-1, 1)  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What all subscribers' deliveries share. *opened*: the secrets of a subscriber. Raises: NoKey, NotOpened."""

    pool: Pool
    deliverer: Deliverer
    metrics: Metrics
    now: Clock
    opened: Callable[[Subscriber], Sequence[Secret]]
    chance: Chance = by_chance


class Landed(NamedTuple):
    """A delivery whose answer is there."""

    due: Due
    answer: Answer


@dataclass(slots=True, kw_only=True)
class Delivering:
    """One subscriber that this process has. *until*: the monotonic time until which it surely has it."""

    post: Post
    row: Subscriber
    until: float
    stopping: bool = False
    _next: deque[Due] = field(default_factory=deque)
    _flying: dict[asyncio.Task[Answer], Due] = field(default_factory=dict)

    async def run(self) -> None:
        """Deliver until nothing is due. Raises: what the store raises; NoKey, NotOpened."""
        secrets = self.post.opened(self.row)
        permit.current.set(Permit(self._may_send))
        try:
            while True:
                if self._may_begin and not self._next and len(self._flying) < self._at_once:
                    await self._read()
                while self._next and self._may_begin and len(self._flying) < self._at_once:
                    self._begin(self._next.popleft(), secrets)
                if not self._flying:
                    return
                await asyncio.wait(self._flying, return_when=asyncio.FIRST_COMPLETED)
                await self._record([task for task in self._flying if task.done()])
        finally:
            for task in self._flying:
                task.cancel()
            await asyncio.gather(*self._flying, return_exceptions=True)

    def _may_send(self) -> None:
        if not self._is_held:
            raise LeaseLost("another process may deliver to this subscriber by now")

    @property
    def _is_held(self) -> bool:
        return time.monotonic() < self.until

    @property
    def _may_begin(self) -> bool:
        """Whether one more delivery may go out now."""
        paused = self.row.not_before is not None and self.row.not_before > self.post.now()
        return not self.stopping and self._is_held and self.row.state == "active" and not paused

    @property
    def _at_once(self) -> int:
        """One that fails is asked a single delivery at a time."""
        return 1 if self.row.failures >= BREAKS_AT else AT_ONCE

    async def _read(self) -> None:
        """Read what the subscriber is now, and what is due."""
        row = await subscribers.read(self.post.pool, self.row.id)
        if row is None:
            self.stopping = True
            return
        self.row = row
        if self._may_begin:
            most = 1 if self._at_once == 1 else AT_ONCE * AHEAD
            flying = [due.id for due in self._flying.values()]
            self._next.extend(await webhook_deliveries.heads(self.post.pool, row.id, self.post.now(), most, flying))

    def _begin(self, due: Due, secrets: Sequence[Secret]) -> None:
        now = self.post.now()
        posted = self.post.deliverer.post(self.row.url, due.event_id, due.body, in_force(secrets, now), now)
        self._flying[asyncio.create_task(posted)] = due

    async def _record(self, ended: Sequence[asyncio.Task[Answer]]) -> None:
        """Record what became of those whose tasks have *ended*, together."""
        landed = []
        for task in ended:
            due = self._flying.pop(task)
            error = task.exception()
            if error is None:
                landed.append(Landed(due, task.result()))
            elif not isinstance(error, LeaseLost):  # of which nothing was sent
                raise error
        if not landed:
            return
        now, chance = self.post.now(), self.post.chance
        verdicts = [judged(one.due, one.answer, now, chance) for one in landed]
        fortune = Fortune(self.row.failures, self.row.failing_since, self.row.last_success_at, self.row.not_before)
        for one in landed:
            fortune = fared(fortune, one.answer, now, chance)
        self.row = self.row._replace(**fortune._asdict())
        gone = any(verdict.gone for verdict in verdicts)
        async with self.post.pool.acquire() as conn, conn.transaction():
            await webhook_deliveries.record(conn, self.row.id, [verdict.tried for verdict in verdicts], now)
            await subscribers.fares(conn, self.row.id, fortune)
            if gone:
                await disable_gone(conn, self.row.id, self.row.name, now)
        if gone:
            self.stopping = True
        self._count(landed, verdicts)

    def _count(self, landed: Sequence[Landed], verdicts: Sequence[Verdict]) -> None:
        for one, verdict in zip(landed, verdicts, strict=True):
            self.post.metrics.inc(DELIVERIES, {"outcome": verdict.outcome})
            self.post.metrics.observe(SECONDS, one.answer.ms / 1000)
