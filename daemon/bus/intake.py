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
from adapters.postgres.pool import Pool, refuses_data, store_is_down
from adapters.redis.streams import NotDurable, StreamErrors, Streams, Untrusted
from daemon.bus.batcher import Batcher, Full
from daemon.bus.publisher import publish
from daemon.lifecycle import Periodic
from daemon.stores.health import Stores, store_away
from daemon.telemetry.failures import fields
from schemas.envelope import Event
from schemas.errors import Malformed, Transient

DRAIN_BATCH: Final = 200
LOOK_S: Final = 0.25
ASK_S: Final = 0.5
"""Longest wait for Postgres to say whether the spool is empty. While Postgres is away no process can spool."""

FRESH_S: Final = 0.05
"""How long the answer "the spool is empty" holds. A process that spools answers its sender later than that: when the
sender goes on with the next event at another process, that process asks again and sees the spooled one."""

ANSWER_S: Final = 4.0
"""Longest wait of a caller: senders of webhooks commonly give up after five seconds."""

_NOT_CONNECTED: Final = (ConnectionRefusedError, FileNotFoundError)  # the latter over a socket file

Accepting: TypeAlias = Literal["redis", "spool", "no"]

log = structlog.get_logger(__name__)


class NotAccepted(Transient):
    """No store has confirmed that it took the event: the sender must come again.

    *perhaps*: a store may have taken it all the same; else nothing of it is kept.
    """

    def __init__(self, text: str, *, retry_after_s: float, perhaps: bool = False) -> None:
        super().__init__(text, retry_after_s=retry_after_s)
        self.perhaps = perhaps


class Intake(Periodic):
    """Takes events in. Requests that come together share one round trip. As a service it drains the spool.

    *closed*: nothing is taken in until `open`, or the first look at the spool. *alone*: no other process uses these
    stores. Otherwise another process may have spooled the event before of the same key, and told its sender; so before
    an append the intake asks Postgres for that, unless it did a moment ago.
    """

    def __init__(
        self, streams: Streams, pool: Pool, stores: Stores, *, alone: bool = False, closed: bool = False
    ) -> None:
        super().__init__("intake", self._look, every_s=LOOK_S, skip=store_away)
        self._streams = streams
        self._pool = pool
        self._stores = stores
        # large events apart: they wait for Postgres to put their payloads aside
        self._small, self._large = (
            Batcher(self._keep, size=_bytes, culprit=lambda exc: isinstance(exc, Malformed)) for _ in range(2)
        )
        self._spooling = True  # until the first look says that the spool is empty
        self._spool_tail = asyncio.Lock()
        self._spool_empty = False  # as far as this process knows
        self._held = False
        self._closed = closed
        self._alone = alone
        self._unanswered: set[asyncio.Task[bool | None]] = set()
        self._empty_until = -math.inf
        self._check: Callable[[], Awaitable[None]] | None = None
        self.looked = asyncio.Event()
        """Set after the first look at the spool."""

    @property
    def accepting(self) -> Accepting:
        """Where the next event goes."""
        if self._closed:
            return "no"
        if not self._spooling and self._stores.redis.up:
            return "redis"
        return "spool" if self._stores.postgres.up else "no"

    def open(self) -> None:
        """Take events in from now on: into the spool, until the first look at it."""
        self._closed = False

    def check_before_draining(self, check: Callable[[], Awaitable[None]]) -> None:
        """Await *check* before each drain of the spool: what Redis may have lost goes before what waited for it."""
        self._check = check

    async def append(self, events: Sequence[Event], *, by: float | None = None) -> bool:
        """Make *events* durable; returns true when they are in the spool. *by*: the time of the event loop at which
        the caller must have its answer; ANSWER_S from now where it is not given.

        Raises: NotAccepted; batcher.Full when too many wait; Malformed when a store cannot hold one of them.
        """
        if self.accepting == "no":
            raise NotAccepted("no store can take it now", retry_after_s=2.0)
        loop = asyncio.get_running_loop()
        results = self._submitted(events)
        timer = loop.call_at(loop.time() + ANSWER_S if by is None else by, self._give_up, results)
        try:
            return await results[0] if len(results) == 1 else any(await asyncio.gather(*results))
        finally:
            timer.cancel()

    def _submitted(self, events: Sequence[Event]) -> list[asyncio.Future[bool]]:
        """The results to come of *events*, which go in all or not at all. Raises: batcher.Full."""
        batcher = self._large if any(_bytes(event) > payloads.LARGE_BYTES for event in events) else self._small
        if len(events) == 1:
            return [batcher.submit(events[0])]
        results: list[asyncio.Future[bool]] = []
        try:
            results.extend(batcher.submit(event) for event in events)
        except Full:
            for result in results:
                result.cancel()
            raise
        return results

    def _give_up(self, results: Sequence[asyncio.Future[bool]]) -> None:
        """Answer for the stores, which are late. What no batch has taken yet will not be kept."""
        begun = any(result.done() or self._small.begun(result) or self._large.begun(result) for result in results)
        for result in results:
            if not result.done():
                text = "the stores did not answer in time"
                result.set_exception(NotAccepted(text, retry_after_s=2.0, perhaps=begun))

    async def _keep(self, events: list[Event]) -> Sequence[bool]:
        perhaps = False  # whether Redis may hold them although it did not say so
        while True:
            if not self._spooling and await self._others_spool():
                self._spooling = True
            if not self._spooling:
                taken = await self._put_on_stream(events)
                if taken:
                    return [False] * len(events)
                perhaps = perhaps or taken is None
            async with self._spool_tail:
                # after the wait for the lock the spool may be drained: what is spooled then would wait for nothing
                spooled = self._spooling
                if spooled:
                    await self._spool(events, perhaps=perhaps)
            if spooled:
                if not self._alone:
                    await asyncio.sleep(1.2 * FRESH_S)
                return [True] * len(events)

    async def _put_on_stream(self, events: list[Event]) -> bool | None:
        """Append *events*; when Redis does not take them false, or None where it may have, and the intake spools from
        now on. Raises: Malformed."""
        try:
            if self._stores.postgres.up:
                await publish(self._pool, self._streams, events)
            else:
                await self._streams.append(events)  # large payloads can be put nowhere else
        except (*StreamErrors, NotDurable) as exc:
            if not isinstance(exc, Untrusted):  # the server answers: recovery looks what it has lost
                self._stores.redis.noticed(exc)
            if not self._spooling:
                log.warning("intake.spools", **fields(exc))
            self._spooling = True
            return False if isinstance(exc, Untrusted) or _never_connected(exc) else None
        except Exception as exc:
            if refuses_data(exc):
                raise Malformed("Postgres cannot hold it") from exc
            raise
        self._stores.redis.answered()
        return True

    async def _others_spool(self) -> bool:
        """Whether something is in the spool. False while Postgres does not say, as no process can spool then.

        Asks Postgres itself and not its watcher, which may have lost a Postgres that serves other processes.
        """
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

    async def _spool(self, events: list[Event], *, perhaps: bool) -> None:
        was_empty, self._spool_empty = self._spool_empty, False
        try:
            await spool.append(self._pool, events)
        except Exception as exc:
            if refuses_data(exc):
                self._spool_empty = was_empty
                raise Malformed("Postgres cannot hold it") from exc
            if not store_is_down(exc):
                raise
            self._stores.postgres.noticed(exc)
            written = not isinstance(exc, _NOT_CONNECTED)  # perhaps
            self._spool_empty = was_empty and not written
            raise NotAccepted("no store can take it now", retry_after_s=2.0, perhaps=perhaps or written) from exc
        self._stores.postgres.answered()

    def hold(self) -> None:
        """Spool whatever comes, until `release`: something older has to be published first."""
        self._held = self._spooling = True

    def release(self) -> None:
        """Go on, behind what is in the spool."""
        self._held = False

    async def drained(self) -> None:
        """Wait until everything taken in so far is settled."""
        await asyncio.gather(self._small.idle(), self._large.idle())

    async def _look(self) -> None:
        """Bring what is in the spool to the stream, oldest first, and new events behind it."""
        try:
            if self._spooling and not self._held:
                await self._drain()
        except Exception as exc:
            if store_away(exc):
                self._pass_by_the_spool()
            raise
        finally:
            self.looked.set()
            self.open()

    async def _drain(self) -> None:
        if self._check is not None:
            await self._check()
        # up to a short batch: one that is empty may never come while new events go behind the spool
        while await self._move_oldest() == DRAIN_BATCH:
            pass
        async with self._spool_tail:
            while await self._move_oldest():
                pass
            await self._streams.server.look()
            self._spooling = self._held
            self._spool_empty = True
            self._stores.redis.answered()
            self._stores.postgres.answered()

    async def _move_oldest(self) -> int:
        rows = await spool.oldest(self._pool, DRAIN_BATCH)
        if rows:
            await publish(self._pool, self._streams, [event for _, event in rows])
            await spool.remove(self._pool, [seq for seq, _ in rows])
            log.info("intake.spool_drained", count=len(rows))
        return len(rows)

    def _pass_by_the_spool(self) -> None:
        """While Postgres is away the spool cannot be drained. If nothing can be in it, the stream takes events again as
        soon as Redis does."""
        if self._spool_empty and self._stores.redis.up and not self._stores.postgres.up:
            self._spooling = self._held


def _bytes(event: Event) -> int:
    return len(event.data)


def _never_connected(exc: BaseException) -> bool:
    """Whether *exc* says that there was no connection to send anything on."""
    return isinstance(exc.__cause__ or exc.__context__ or exc, _NOT_CONNECTED)
