"""The pump: exchanges with the upstream by itself, at once after a local write, and as soon as the upstream has news.

Nothing waits for it: what was written here is safe in the queue. Whether the upstream is online is known by real
exchanges alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import structlog
from aiohttp import ClientSession

from adapters.postgres.pool import Connection, Pool, has_no_room, locking
from adapters.postgres.records import queue, upstream
from adapters.sync.exchange import Upstream
from adapters.sync.pacing import Pacing
from adapters.sync.round import Round, run_round
from daemon.bus.worker import Clock
from daemon.lifecycle import any_set
from daemon.records.edge.store import Contended, PostgresReplica
from daemon.stores.health import store_away
from daemon.telemetry.failures import fields
from daemon.telemetry.metrics import Metrics
from daemon.telemetry.seldom import Seldom

ROUND_SECONDS: Final = "ferryman_sync_round_seconds"

HOLD_S: Final = 25.0
"""How long the upstream is asked to hold an answer until it has news."""

LOCK: Final = 7_302_119_402_551_204
"""Of the session lock: one process of an installation pumps."""

LOCK_EVERY_S: Final = 2.0
TOKEN_EVERY_S: Final = 1.0
LOOK_EVERY_S: Final = 1.0

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Exchange:
    """The exchange with the upstream at *url*. *token*: gives the token in force; *batch*: operations of one push."""

    pool: Pool
    session: ClientSession
    store: PostgresReplica
    url: str
    token: Callable[[], str]
    batch: int

    async def round(self, *, wait_s: float = 0.0, woken: asyncio.Event | None = None) -> Round:
        """One round; see `run_round`. Raises: Contended; as the store."""
        await upstream.named(self.pool, self.url)
        feed = await upstream.own_feed(self.pool)
        return await run_round(
            self.store,
            Upstream(self.session, self.url, self.token()),
            batch=self.batch,
            wait_s=wait_s,
            woken=woken,
            stamps=True,
            via=[str(feed)],
        )


@dataclass(slots=True, kw_only=True)
class Pump:
    """Makes rounds until it is stopped. *every_s*: between two rounds where nothing is written and the upstream does
    not tell of its news."""

    exchange: Exchange
    metrics: Metrics
    now: Clock
    every_s: float
    pacing: Pacing = field(default_factory=Pacing)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _idle_s: float = 1.0
    _told: str = ""
    """The error that the log has heard of last."""
    _seldom: Seldom = field(default_factory=Seldom)

    def wake(self) -> None:
        """Something was written here. Returns at once."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Pump until *stop*, in turn with other processes of the installation."""
        while not stop.is_set():
            try:
                await _until(stop, self._turn(stop))
            except Exception as exc:  # the process serves without it
                await self._fell(exc)
            await any_set(stop, timeout_s=LOCK_EVERY_S)

    async def _fell(self, exc: Exception) -> None:
        """Tell what has stopped the exchange here. Where a store is away, its watcher does; a full disk it may not
        notice."""
        if isinstance(exc, Contended) or (store_away(exc) and not has_no_room(exc)):
            return
        if self._seldom.due():
            log.error("records.pump_failed", **fields(exc))
        with suppress(Exception):  # what tells it is written where it may not fit
            await self.exchange.store.heard(f"here-{type(exc).__name__}")

    async def _turn(self, stop: asyncio.Event) -> None:
        """Make rounds for as long as this process holds the lock; return where another one does."""
        async with locking(self.exchange.pool) as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
                return
            while not stop.is_set():
                await self._rounds(stop, connection)

    async def _rounds(self, stop: asyncio.Event, connection: Connection) -> None:
        """A round, and the wait for the next one."""
        await connection.fetchval("SELECT 1")  # the lock goes with its connection
        self._woken.clear()
        began = time.monotonic()
        done = await self.exchange.round()
        self.metrics.observe(ROUND_SECONDS, time.monotonic() - began)
        if done.error is None:
            self._succeeded()
            if not done.more:
                done = await self._held(stop)
        if done.error is not None:
            await self._failed(done, stop)

    async def _held(self, stop: asyncio.Event) -> Round:
        """Wait until something of ours is to go out, and fetch meanwhile what the upstream tells. The last round."""
        looking = asyncio.ensure_future(self._look())
        try:
            hold_s = min(HOLD_S, self.every_s)
            while True:
                began = time.monotonic()
                done = await self.exchange.round(wait_s=hold_s, woken=self._woken)
                if done.error is not None or self._woken.is_set() or stop.is_set():
                    return done
                if done.pulled or time.monotonic() - began >= hold_s / 2:
                    self._idle_s = 1.0
                    continue
                # it does not hold its answers: it is asked less often
                if await any_set(stop, self._woken, timeout_s=self._idle_s):
                    return done
                self._idle_s = min(self._idle_s * 2, self.every_s)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)  # a store that is away meets the next round

    async def _look(self) -> None:
        """Wake as soon as an operation is due: one that waited for its time, or that another process has written."""
        while not await queue.due(self.exchange.pool, 1, self.now()):
            await any_set(self._woken, timeout_s=LOOK_EVERY_S)
        self.wake()

    def _succeeded(self) -> None:
        self.pacing.done()
        if self._told:
            log.info("records.upstream_back")
            self._told = ""

    async def _failed(self, done: Round, stop: asyncio.Event) -> None:
        """Tell it once, and wait. A new token ends the wait, and so does an exchange that somebody else has made, as
        `ferryman records sync`. What is written here does not: an upstream that comes back is not met by everybody at
        once."""
        assert done.error is not None
        if self._told != done.error.code:
            self._told = done.error.code
            log.warning("records.upstream_away", reason=done.error.code)
        until = time.monotonic() + self.pacing.failed(done.error)
        token = self.exchange.token()
        while (left_s := until - time.monotonic()) > 0 and not stop.is_set() and token == self.exchange.token():
            await any_set(stop, timeout_s=min(left_s, TOKEN_EVERY_S))
            if (await upstream.read(self.exchange.pool)).online:
                return


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of *work*, or None where *stop* came first: it is cut then. Whatever it was about is sent again, or
    fetched again. Raises as *work*."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        stopped.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
