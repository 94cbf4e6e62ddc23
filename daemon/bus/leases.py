"""Leases: which (worker, partition) pairs this process holds, for how long, and under which epoch.

A lease lives in Redis and is renewed there. Its epoch lives in Postgres and is checked inside the transaction that
writes results. The lease keeps two processes from working on the same partition; the epoch keeps a process that slept
past its lease from writing anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, Protocol

import structlog

from adapters.postgres.bus import epochs
from adapters.postgres.pool import Pool
from adapters.redis.lease_table import LeaseTable, Pair, Table
from adapters.redis.streams import StreamErrors
from daemon.bus.assign import plan
from daemon.lifecycle import Periodic
from daemon.stores.health import store_away

MARGIN: Final = 0.1
"""Part of the lease's time that is not used: the clocks of two machines do not run exactly alike."""

TICK_S: Final = 0.5
BUSY_TICK_S: Final = 0.2
"""While partitions are handed over, or none is held yet."""

log = structlog.get_logger(__name__)


class Leases(Protocol):
    """What the bus asks about leases."""

    def held(self, worker: str) -> Mapping[int, int]:
        """Partition -> epoch of what this process holds as far as it knows: results may be written under these."""
        ...

    def readable(self, worker: str) -> Mapping[int, int]:
        """The part of `held` whose leases have certainly not run out and that is not being handed over: entries of
        these may be read and begun."""
        ...

    def may_begin(self, worker: str, partition: int, epoch: int) -> bool:
        """Whether *partition* is in `readable`, under *epoch*."""
        ...

    def certain(self, worker: str, partition: int, epoch: int) -> bool:
        """Whether *partition* is certainly still held under *epoch*, also while it is being handed over: its handler
        may act outside."""
        ...

    def lost(self, worker: str, partition: int, epoch: int = 0) -> None:
        """A store says that another process has taken *partition*; Redis also says under which *epoch*."""
        ...


class LeaseKeeper(Periodic):
    """Keeps this process's share of the pairs. As a service it renews the leases, and takes and hands over pairs.

    *drain*: asked for every pair that is to be handed over; answers whether nothing of it is in hand any more.
    *publish_left*: publishes the outbox; called when no other process can write to it for the pairs that are taken.
    """

    def __init__(
        self,
        table: LeaseTable,
        pool: Pool,
        *,
        me: str,
        pairs: Collection[Pair],
        ttl_s: float,
        drain: Callable[[Pair], bool],
        publish_left: Callable[[], Awaitable[None]],
    ) -> None:
        # a tick that fails is repeated; until one succeeds the leases hold for the rest of their time
        super().__init__("leases", self._tick, every_s=self._until_tick_s, skip=store_away)
        self._table = table
        self._pool = pool
        self._me = me
        self._pairs = pairs
        self._ttl_s = ttl_s
        self._drain = drain
        self._publish_left = publish_left
        self._epochs: dict[Pair, int] = {}
        self._giving: dict[Pair, float] = {}
        self._seen: dict[Pair, int] = {}  # epochs that Redis knows: Postgres may have been put back to earlier ones
        self._valid_until = 0.0
        self._born: str | None = None
        self._cautious_until = 0.0
        self._retired = False
        self._taking: asyncio.Task[None] | None = None
        self.settled = asyncio.Event()
        """Set when the pairs that were free at the start are taken."""

    def held(self, worker: str) -> Mapping[int, int]:
        """See Leases."""
        return {pair[1]: epoch for pair, epoch in self._epochs.items() if pair[0] == worker}

    def readable(self, worker: str) -> Mapping[int, int]:
        """See Leases."""
        if time.monotonic() > self._valid_until:
            return {}
        return {p: epoch for p, epoch in self.held(worker).items() if (worker, p) not in self._giving}

    def may_begin(self, worker: str, partition: int, epoch: int) -> bool:
        """See Leases."""
        return self.certain(worker, partition, epoch) and (worker, partition) not in self._giving

    def certain(self, worker: str, partition: int, epoch: int) -> bool:
        """See Leases."""
        return time.monotonic() <= self._valid_until and self._epochs.get((worker, partition)) == epoch

    def lost(self, worker: str, partition: int, epoch: int = 0) -> None:
        """See Leases."""
        if epoch:
            self._seen[worker, partition] = epoch
        self._epochs.pop((worker, partition), None)
        self._giving.pop((worker, partition), None)

    async def retire(self) -> None:
        """Take nothing more and hand over each pair as soon as nothing of it is in hand. Tells the other processes,
        where Redis answers."""
        self._retired = True
        now = time.monotonic()
        self._giving.update((pair, now) for pair in self._epochs if pair not in self._giving)
        with contextlib.suppress(*StreamErrors):
            await self._table.retire()

    def _until_tick_s(self) -> float:
        return min(self._ttl_s / 4, BUSY_TICK_S if self._giving or not self._epochs else TICK_S)

    async def _tick(self) -> None:
        began = time.monotonic()
        release = [pair for pair in self._giving if self._handed_over(pair, began)]
        for pair in release:
            self._giving.pop(pair, None)
            self._epochs.pop(pair, None)
        table = await self._table.tick(list(self._epochs), release, certain=began <= self._valid_until)
        self._valid_until = began + self._ttl_s * (1 - MARGIN)
        self._note_birth(table.born)
        for pair in [pair for pair in self._epochs if table.owners.get(pair) != self._me]:
            log.warning("lease.lost", worker=pair[0], partition=pair[1])
            self.lost(*pair)
        await self._follow(table)

    def _note_birth(self, born: str) -> None:
        """Notice a new table: Redis lost the old one, and each process enters again what it holds. For the time
        of one lease this process takes nothing, since a pair that looks free may have an owner."""
        if self._born not in (None, born):
            log.warning("lease.table_lost")
            self._cautious_until = time.monotonic() + self._ttl_s
        self._born = born

    def _handed_over(self, pair: Pair, now: float) -> bool:
        return self._drain(pair) or (not self._retired and now - self._giving[pair] > self._ttl_s)

    async def _follow(self, table: Table) -> None:
        if self._retired:
            return
        if time.monotonic() < self._cautious_until:
            return
        share = plan(self._me, table.members, table.owners, self._pairs)
        for pair in share.give - self._giving.keys():
            self._giving[pair] = time.monotonic()
        if self._taking is not None and not self._taking.done():
            return  # Postgres is slow, and the next tick must not wait for it: it renews the leases
        taking, self._taking = self._taking, None
        if taking is not None and (exc := taking.exception()) is not None:
            raise exc  # a store that is away is asked again at the next tick
        orphans = [pair for pair, owner in table.owners.items() if owner == self._me and pair not in self._epochs]
        taken = [*orphans, *(await self._table.acquire(sorted(share.take)) if share.take else ())]
        self._taking = asyncio.create_task(self._take(taken)) if taken else None
        if not taken:
            self.settled.set()

    async def _take(self, pairs: Sequence[Pair]) -> None:
        """Take new epochs for newly acquired *pairs*: from then on no other process can write results of these."""
        by_worker: dict[str, list[int]] = {}
        for worker, partition in pairs:
            by_worker.setdefault(worker, []).append(partition)
        taken: dict[Pair, int] = {}
        for worker, partitions in by_worker.items():
            after = {p: epoch for (w, p), epoch in self._seen.items() if w == worker}
            mine = await epochs.take(self._pool, worker, partitions, self._me, after=after)
            taken.update(((worker, partition), epoch) for partition, epoch in mine.items())
        await self._publish_left()  # what the former owner has committed goes before anything that this one emits
        self._epochs.update(taken)
        if pairs:
            log.info("lease.taken", pairs={worker: sorted(ps) for worker, ps in by_worker.items()})

    async def leave(self) -> None:
        """Release everything at once, so that other processes take over without waiting for the leases to run out."""
        if self._taking is not None:
            self._taking.cancel()
        held = [*self._epochs]
        self._epochs.clear()
        try:
            await self._table.leave(held)
        except StreamErrors as exc:
            log.warning("lease.left_to_run_out", error_class=type(exc).__name__)
