"""Group commit: calls that arrive together share one round trip.

While *at_once* batches are under way, calls wait; the next batch takes all of them. So a batch grows with the load by
itself, and a lone call does not wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar, cast

from schemas.errors import Transient

Item = TypeVar("Item")
Result = TypeVar("Result")


class Full(Transient):
    """Too many calls wait already."""


class Batcher(Generic[Item, Result]):
    """Calls *run* with batches; *run* returns one result per item, in order, or raises for the whole batch.

    *largest*: items in one batch. *waiting*: items that may wait. *at_once*: batches under way.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Awaitable[Sequence[Result]]],
        *,
        largest: int = 200,
        waiting: int = 20_000,
        at_once: int = 2,
    ) -> None:
        self._run = run
        self._largest = largest
        self._waiting_at_most = waiting
        self._at_once = at_once
        self._items: list[Item] = []
        self._futures: list[asyncio.Future[Result]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """The future result of *item*. Raises: Full when too many wait."""
        if len(self._items) >= self._waiting_at_most:
            raise Full("too many calls wait for the store", retry_after_s=1.0)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._items.append(item)
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

    async def _run_all(self) -> None:
        while self._items:
            items, self._items = self._items[: self._largest], self._items[self._largest :]
            futures, self._futures = self._futures[: self._largest], self._futures[self._largest :]
            try:
                results = await self._run(items)
            except BaseException as exc:
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
