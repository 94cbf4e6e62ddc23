"""Processes as the leases see them: each with its own table and keeper, and a consumer when it works."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

from adapters.redis.lease_table import LeaseTable, Pair
from daemon.bus.consumer import Consumer
from daemon.bus.leases import LeaseKeeper
from daemon.bus.upkeep import publish_left
from daemon.bus.worker import AnyWorker
from tests.support.bus import Bench
from tests.support.toy import TOY


class Member:
    """A process as the leases see it: its own table and keeper, and, when asked for, a consumer on what it holds."""

    def __init__(self, bench: Bench, name: str, *, ttl_s: float, workers: Sequence[str] = (TOY,)) -> None:
        self.name = name
        self.bench = bench
        self.pairs = [(worker, p) for worker in (TOY, "toy-2") for p in range(bench.partitions)]
        self.table = LeaseTable(bench.redis, name, workers, ttl_s)
        self.consumer: Consumer | None = None
        self.keeper = LeaseKeeper(
            self.table,
            bench.pool,
            me=name,
            pairs=self.pairs,
            ttl_s=ttl_s,
            drain=self._drained,
            publish_left=partial(publish_left, bench.pool, bench.bus, older_than_s=0),
        )
        self._stack = AsyncExitStack()
        self._working: asyncio.Task[None] | None = None

    def _drained(self, pair: Pair) -> bool:
        return self.consumer is None or pair[0] != TOY or self.consumer.hand_over(pair[1])

    async def start(self, worker: AnyWorker | None = None) -> None:
        """Take part; with *worker*, work as well."""
        if worker is not None:
            self.consumer = await self._stack.enter_async_context(self.bench.consumer(worker, leases=self.keeper))
            self._working = asyncio.create_task(self.consumer.run())
        self.keeper.start()

    @property
    def epochs(self) -> dict[Pair, int]:
        """What it may write under."""
        return {(w, p): epoch for w in (TOY, "toy-2") for p, epoch in self.keeper.held(w).items()}

    @property
    def readable(self) -> set[Pair]:
        """What it may begin work on."""
        return {(w, p) for w in (TOY, "toy-2") for p in self.keeper.readable(w)}

    def freeze(self) -> None:
        """Renew nothing any more, and know nothing of it: what a stopped process or a lost network looks like."""
        self.keeper.cut()

    async def stop_working(self) -> None:
        """Finish what is in hand. An error of its parts is raised."""
        if self.consumer is not None and self._working is not None:
            self.consumer.stop()
            async with asyncio.timeout(20):
                await self._working

    async def stop(self) -> None:
        """An orderly end, as the daemon does it."""
        if self.consumer is not None:
            self.consumer.stop()
        await self.keeper.retire()
        await self.stop_working()
        await self.end()
        await self.keeper.leave()

    async def end(self) -> None:
        """Leave nothing running. An error of the keeper is raised."""
        if self._working is not None and not self._working.done():
            self._working.cancel()
        self.keeper.cut()
        parts = [self.keeper.stopped(), *([self._working] if self._working else [])]
        results = await asyncio.gather(*parts, return_exceptions=True)
        await self._stack.aclose()
        for result in results:
            if isinstance(result, Exception):
                raise result
