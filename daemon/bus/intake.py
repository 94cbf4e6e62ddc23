"""The intake: makes accepted events durable, on the stream or, while Redis is away, in Postgres.

Order within a key holds through an outage: once something is in the spool, everything new goes behind it, until the
spool is drained to its last row.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal, TypeAlias

import structlog

from adapters.postgres.bus import payloads, spool
from adapters.postgres.pool import Pool, store_is_down
from adapters.redis.client import ping
from adapters.redis.streams import NotDurable, StreamErrors, Streams
from daemon.bus.batcher import Batcher
from schemas.envelope import Event
from schemas.errors import Transient

DRAIN_BATCH: Final = 200
LOOK_S: Final = 0.25
ASK_S: Final = 0.5
"""Longest wait for Postgres to say whether the spool is empty. With Postgres away nobody puts anything there."""

FRESH_S: Final = 0.05
"""How long an answer that the spool is empty holds. Who spools keeps its sender waiting for longer than that: when the
sender goes on, with the next event, to another process, that one's answer is of after the spooling."""

_NOT_CONNECTED: Final = (ConnectionRefusedError, FileNotFoundError)  # the latter over a socket file

Accepting: TypeAlias = Literal["redis", "spool", "no"]

log = structlog.get_logger(__name__)


class NotAccepted(Transient):
    """Neither store took the event: nothing of it is kept, and the sender must come again."""


class Intake:
    """Takes events in. Requests that come together share one round trip.

    *alone*: no other process uses these stores. Else another one may have spooled the event before of the same key, and
    told its sender: so before an append Postgres is asked for that, unless it was a moment ago.
    """

    def __init__(self, streams: Streams, pool: Pool, *, alone: bool = False) -> None:
        self._streams = streams
        self._pool = pool
        self._batcher: Batcher[Event, bool] = Batcher(self._keep)
        self._spooling = True  # until the first look says that the spool is empty
        self._spool_tail = asyncio.Lock()
        self._spool_empty = False  # as far as this process knows
        self._stores_up = True
        self._held = False
        self._alone = alone
        self._unanswered: set[asyncio.Task[bool | None]] = set()
        self._empty_until = -math.inf
        self.verify: Callable[[], Awaitable[None]] | None = None
        """Awaited before the spool is drained: should Redis have lost something, that goes first."""
        self._stopping = asyncio.Event()
        self.looked = asyncio.Event()

    @property
    def accepting(self) -> Accepting:
        """Where the next event goes."""
        if not self._stores_up:
            return "no"
        return "spool" if self._spooling else "redis"

    async def append(self, events: Sequence[Event]) -> bool:
        """Make *events* durable; returns true when they are in the spool. Raises: NotAccepted; batcher.Full when
        flooded."""
        if len(events) == 1:
            return await self._batcher.submit(events[0])
        return any(await asyncio.gather(*[self._batcher.submit(event) for event in events]))

    async def _keep(self, events: list[Event]) -> Sequence[bool]:
        while True:
            if not self._spooling and await self._others_spool():
                self._spooling = True
            if not self._spooling:
                try:
                    await self._streams.append(await payloads.set_aside(self._pool, events))
                    self._stores_up = True
                    return [False] * len(events)
                except (*StreamErrors, NotDurable) as exc:
                    log.warning("intake.redis_away", error_class=type(exc).__name__)
                    self._spooling = True
            async with self._spool_tail:
                spooled = self._spooling  # else the spool was drained while we waited: nobody would look at it again
                if spooled:
                    await self._spool(events)
            if spooled:
                if not self._alone:
                    await asyncio.sleep(1.2 * FRESH_S)
                return [True] * len(events)

    async def _others_spool(self) -> bool:
        """Whether something is in the spool. False while Postgres does not say, as it then takes nothing either."""
        now = asyncio.get_running_loop().time()
        if self._alone or self._unanswered or now < self._empty_until:
            return False
        asking = asyncio.create_task(self._ask())
        done, _ = await asyncio.wait({asking}, timeout=ASK_S)
        if not done:
            self._unanswered.add(asking)  # not cancelled: a frozen server would not hear of that either
            asking.add_done_callback(self._unanswered.discard)
            return False
        if (found := asking.result()) is False:
            self._empty_until = now + FRESH_S
        return found is True

    async def _ask(self) -> bool | None:
        """Whether the spool holds something; None where Postgres does not answer."""
        try:
            return await spool.holds_something(self._pool)
        except Exception as exc:
            if not store_is_down(exc):
                raise
            return None

    async def _spool(self, events: list[Event]) -> None:
        was_empty, self._spool_empty = self._spool_empty, False
        try:
            await spool.append(self._pool, events)
            self._stores_up = True
        except Exception as exc:
            if not store_is_down(exc):
                raise
            self._stores_up = False
            self._spool_empty = was_empty and isinstance(exc, _NOT_CONNECTED)  # else it may have been written
            raise NotAccepted("no store can take it now", retry_after_s=2.0) from exc

    def hold(self) -> None:
        """Spool whatever comes, until `release`: something older has to be published first."""
        self._held = self._spooling = True

    def release(self) -> None:
        """Go on, behind what is in the spool."""
        self._held = False

    def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    async def drained(self) -> None:
        """Wait until everything taken in so far is settled."""
        await self._batcher.idle()

    async def run(self) -> None:
        """Keep looking for spooled events and bring them to the stream, oldest first."""
        while not self._stopping.is_set():
            if self._spooling and not self._held:
                try:
                    await self._drain()
                except Exception as exc:
                    if not isinstance(exc, (*StreamErrors, NotDurable)) and not store_is_down(exc):
                        raise
                    # an OSError or TimeoutError may be of either store: ask
                    self._stores_up = await self._postgres_answers() or await self._redis_answers_alone()
            self.looked.set()
            try:
                await asyncio.wait_for(self._stopping.wait(), LOOK_S)
            except TimeoutError:
                continue

    async def _drain(self) -> None:
        if self.verify is not None:
            await self.verify()
        # up to a short batch: one that is empty may never come while new events go behind the spool
        while await self._move_oldest() == DRAIN_BATCH:
            pass
        async with self._spool_tail:
            while await self._move_oldest():
                pass
            await ping(self._streams.redis)
            self._spooling = self._held
            self._spool_empty = True
            self._stores_up = True

    async def _move_oldest(self) -> int:
        rows = await spool.oldest(self._pool, DRAIN_BATCH)
        if rows:
            await self._streams.append(await payloads.set_aside(self._pool, [event for _, event in rows]))
            await spool.remove(self._pool, [seq for seq, _ in rows])
            log.info("intake.spool_drained", count=len(rows))
        return len(rows)

    async def _postgres_answers(self) -> bool:
        try:
            await self._pool.fetchval("SELECT 1")
        except Exception as exc:
            if not store_is_down(exc):
                raise
            return False
        return True

    async def _redis_answers_alone(self) -> bool:
        """With Postgres away the spool cannot be drained. If nothing can be in it, the stream may take events all the
        same."""
        if not self._spool_empty:
            return False
        try:
            await ping(self._streams.redis)
        except StreamErrors:
            return False
        if self._spool_empty:  # still, after the wait
            self._spooling = self._held
        return self._spool_empty
