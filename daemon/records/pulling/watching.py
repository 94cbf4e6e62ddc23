"""Waiting for changes: one look at the database serves all who wait in this process.

It is taken only while somebody waits, a few times a second, and at once when this process itself has written. It finds
whom the new changes concern, and wakes those alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from adapters.postgres.pool import Pool
from adapters.postgres.records import feed
from daemon.records.bell import Bell
from daemon.stores.health import store_away
from daemon.telemetry.failures import fields
from daemon.telemetry.metrics import Metrics

EVERY_S: Final = 0.3
"""Between two looks."""

WAITERS: Final = "ferryman_sync_waiters"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """*seq*: it has read up to it. *gone*: whether nobody waits for its answer any more."""

    audiences: frozenset[str]
    seq: int
    gone: Callable[[], bool]
    woken: asyncio.Future[bool]

    def wake(self, found: bool) -> None:
        if not self.woken.done():
            self.woken.set_result(found)


class Watching:
    """Wakes whoever waits for changes. *bell*: rings when this process has written."""

    def __init__(self, pool: Pool, bell: Bell, metrics: Metrics) -> None:
        self._pool = pool
        self._metrics = metrics
        self._waiters: set[_Waiter] = set()
        self._seq = 0
        """The changes up to it have been looked at."""

        self._rung = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_leaving = False
        bell.hear(self._rung.set)

    async def changed(
        self, audiences: frozenset[str], seq: int, timeout_s: float, gone: Callable[[], bool] = lambda: False
    ) -> bool:
        """Wait until a change after *seq* concerns one of *audiences*. False: *timeout_s* passed first, the process
        stops, or the one who waits is *gone*. Now and then it is true although nothing has come."""
        if self._is_leaving:
            return False
        if self._task is None:
            self._seq = seq
            self._task = asyncio.create_task(self._watch(), name="record-watcher")
        elif seq < self._seq:  # what has come between the two was looked at before this one waited
            return True
        waiter = _Waiter(audiences, seq, gone, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        self._metrics.set(WAITERS, len(self._waiters))
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter.woken
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
            self._metrics.set(WAITERS, len(self._waiters))

    async def run(self, stop: asyncio.Event) -> None:
        """Until *stop*; then let all who wait be answered at once, and nobody wait any more."""
        try:
            await stop.wait()
        finally:
            self._is_leaving = True
            for waiter in self._waiters:
                waiter.wake(False)
            self._rung.set()

    async def _watch(self) -> None:
        """Look again and again while somebody waits."""
        try:
            while self._waiters and not self._is_leaving:
                await self._pause()
                for waiter in [one for one in self._waiters if one.gone()]:
                    waiter.wake(False)
                if any(not waiter.woken.done() for waiter in self._waiters):
                    await self._look()
        finally:
            self._task = None

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(EVERY_S):
                await self._rung.wait()
        except TimeoutError:
            pass
        self._rung.clear()

    async def _look(self) -> None:
        """Wake whom the changes since the last look concern. While the store is away nobody is woken."""
        try:
            news = await feed.news(self._pool, self._seq)
        except Exception as exc:
            if not store_away(exc):
                log.error("records.look_failed", **fields(exc))
            return
        if news.seq == self._seq:
            return
        self._seq = news.seq
        for waiter in self._waiters:
            if news.concerned is None or not news.concerned.isdisjoint(waiter.audiences):
                waiter.wake(True)
