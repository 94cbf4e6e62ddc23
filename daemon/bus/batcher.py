"""Group commit: calls that arrive together share one round trip.

While *at_once* batches are under way, calls wait; the next batch takes all of them. So a batch grows with the load by
itself, and a lone call does not wait. An item whose caller has gone before its batch began is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar, cast

from schemas.errors import Transient

MOST_BYTES: Final = 64_000_000
"""Bytes of items that may wait."""

BATCH_BYTES: Final = 8_000_000
"""Bytes of items in one batch; a larger item is a batch of its own."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Full(Transient):
    """Too many calls, or too many bytes, wait already."""


def _never(_: Exception) -> bool:
    return False


def _weightless(_: object) -> int:
    return 0


class Batcher(Generic[Item, Result]):
    """Calls *run* with batches; *run* returns one result per item, in order, or raises for the whole batch.

    *size*: the bytes of an item. *culprit*: whether an error may be the fault of a single item, with nothing done for
    the batch; then the batch is run again in halves, so that the item at fault fails alone. *largest*: items in one
    batch. *waiting*: items that may wait. *at_once*: batches under way.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Awaitable[Sequence[Result]]],
        *,
        size: Callable[[Item], int] = _weightless,
        culprit: Callable[[Exception], bool] = _never,
        largest: int = 200,
        waiting: int = 20_000,
        at_once: int = 2,
    ) -> None:
        self._run = run
        self._size = size
        self._culprit = culprit
        self._largest = largest
        self._waiting_at_most = waiting
        self._at_once = at_once
        self._items: list[Item] = []
        self._bytes = 0
        self._futures: list[asyncio.Future[Result]] = []
        self._begun: set[asyncio.Future[Result]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """The future result of *item*. Raises: Full when too many wait."""
        size = self._size(item)
        if len(self._items) >= self._waiting_at_most or (self._items and self._bytes + size > MOST_BYTES):
            raise Full("too many calls wait for the store", retry_after_s=1.0)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._items.append(item)
        self._bytes += size
        self._futures.append(future)
        if not self._scheduled and len(self._tasks) < self._at_once:
            self._scheduled = True
            loop.call_soon(self._start)
        return future

    def _start(self) -> None:
        self._scheduled = False
        task = asyncio.get_running_loop().create_task(self._flush())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _flush(self) -> None:
        try:
            await self._run_all()
        finally:  # at once and not by a callback later: a call that comes in between must find no batch under way
            self._tasks.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def begun(self, future: asyncio.Future[Result]) -> bool:
        """Whether the batch of *future* is under way: its item may be done by now."""
        return future in self._begun

    async def _run_all(self) -> None:
        while self._items:
            items, futures = self._next()
            self._begun.update(futures)
            try:
                await self._settle(items, futures)
            finally:
                self._begun.difference_update(futures)

    def _next(self) -> tuple[list[Item], list[asyncio.Future[Result]]]:
        """The next batch, within its bounds; what came first goes first."""
        count = size = 0
        for item in self._items[: self._largest]:
            size += self._size(item)
            if count and size > BATCH_BYTES:
                size -= self._size(item)
                break
            count += 1
        self._bytes -= size
        items, self._items = self._items[:count], self._items[count:]
        futures, self._futures = self._futures[:count], self._futures[count:]
        if any(future.done() for future in futures):  # nobody waits for these any more
            kept = [pair for pair in zip(items, futures, strict=True) if not pair[1].done()]
            items, futures = [item for item, _ in kept], [future for _, future in kept]
        return items, futures

    async def _settle(self, items: list[Item], futures: list[asyncio.Future[Result]]) -> None:
        """Run *items* and give each of *futures* its result."""
        if not items:
            return
        try:
            results = await self._run(items)
        except BaseException as exc:
            if len(items) > 1 and isinstance(exc, Exception) and self._culprit(exc):
                half = len(items) // 2
                await self._settle(items[:half], futures[:half])
                await self._settle(items[half:], futures[half:])
                return
            for future in futures:
                if not future.done():
                    future.set_exception(exc) if isinstance(exc, Exception) else future.cancel()
            if not isinstance(exc, Exception):
                raise
        else:
            for future, result in zip(futures, results, strict=True):
                if not future.done():  # else its caller went away
                    future.set_result(result)

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks or self._items:
            if self._tasks:
                await asyncio.wait(set(self._tasks))
            else:
                await asyncio.sleep(0)
