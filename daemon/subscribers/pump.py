"""The pump: takes subscribers that have something due, each for this process alone, and delivers to each in a task of
its own. Processes share the subscribers: whoever finds one free takes it, and gives it up when nothing is due."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog

from adapters.postgres import subscribers
from adapters.postgres.subscribers import Fortune, Subscriber
from daemon.lifecycle import any_set
from daemon.stores.health import store_away
from daemon.stores.seal import NoKey, NotOpened
from daemon.subscribers.delivering import Delivering, Post
from daemon.subscribers.retries import LONGEST_PAUSE_S
from daemon.telemetry.failures import fields

LOOK_S: Final = 0.25
"""How often free subscribers are looked for: the longest that a delivery waits without need."""

MOST: Final = 500
"""Subscribers that one process delivers to at a time."""

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Pump:
    """*me*: this process. *ttl_s*: for how long a subscriber is taken without being renewed: so long after a kill
    another process goes on."""

    post: Post
    me: str
    ttl_s: float
    _has: dict[int, Delivering] = field(default_factory=dict)
    _tasks: dict[asyncio.Task[None], str] = field(default_factory=dict)
    _renewed_at: float = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until *stop*, then let what is under way end."""
        try:
            while not stop.is_set():
                try:
                    await self._renew()
                    await self._take()
                except Exception as exc:  # the process serves without it
                    if not store_away(exc):
                        log.error("webhooks.pump_failed", **fields(exc))
                await any_set(stop, timeout_s=LOOK_S)
            for one in self._has.values():
                one.stopping = True
            while self._tasks:
                await asyncio.wait(list(self._tasks), timeout=LOOK_S)
                await self._renew()
        finally:
            left = list(self._tasks)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _renew(self) -> None:
        """Keep what this process has. What it has lost is not sent to any more."""
        if not self._has or time.monotonic() - self._renewed_at < self.ttl_s / 3:
            return
        began = time.monotonic()
        kept = await subscribers.renew(self.post.pool, self.me, list(self._has), self.ttl_s)
        self._renewed_at = began
        for id, one in self._has.items():
            if id in kept:
                one.until = began + self.ttl_s
            else:
                one.stopping = True

    async def _take(self) -> None:
        if (room := MOST - len(self._has)) <= 0:
            return
        began = time.monotonic()
        for row in await subscribers.lease(self.post.pool, self.me, self.post.now(), self.ttl_s, room):
            if row.id in self._has:
                continue  # it was lost, and its task has yet to end: that gives it up
            one = self._has[row.id] = Delivering(post=self.post, row=row, until=began + self.ttl_s)
            task = asyncio.create_task(self._deliver(one))
            self._tasks[task] = row.name
            task.add_done_callback(self._ended)

    async def _deliver(self, one: Delivering) -> None:
        """Deliver to one subscriber, and give it up. No error of it is one of the pump."""
        try:
            await one.run()
        except (NoKey, NotOpened) as exc:
            log.error("webhooks.secret_not_opened", subscriber=one.row.name, reason=str(exc))
            await self._leave_alone(one.row)
        finally:
            del self._has[one.row.id]  # before it is free: it may be taken anew at once
        await subscribers.release(self.post.pool, self.me, one.row.id)

    def _ended(self, task: asyncio.Task[None]) -> None:
        name = self._tasks.pop(task)
        if task.cancelled() or (exc := task.exception()) is None:
            return
        if not isinstance(exc, Exception) or not store_away(exc):
            log.error("webhooks.delivering_failed", subscriber=name, **fields(exc))

    async def _leave_alone(self, row: Subscriber) -> None:
        """Nothing can be signed for it: it is looked at again later. That costs no attempt."""
        later = self.post.now() + timedelta(seconds=LONGEST_PAUSE_S)
        async with self.post.pool.acquire() as conn:
            fortune = Fortune(row.failures, row.failing_since, row.last_success_at, later)
            await subscribers.fares(conn, row.id, fortune)
