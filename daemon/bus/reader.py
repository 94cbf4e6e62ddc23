"""The reader: takes a worker's entries off the partitions it holds.

A read is never cancelled and never repeated by the client. Who takes a partition first claims it under its epoch, so
that nobody reads there under an earlier one, then reads what is pending, from the beginning and in order, and only then
what is new; so does everybody after an error of a read.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Final

import structlog

from adapters.redis.streams import Fenced, StreamErrors, Streams, partition_in, stream_key
from daemon.bus.admission import Admission
from daemon.bus.committer import Committer
from daemon.bus.lanes import Lanes
from daemon.bus.shared import Shared
from daemon.bus.worker import AnyWorker

BATCH: Final = 500
BLOCK_MS: Final = 1000
SHORT_BLOCK_MS: Final = 50
PAUSE_S: Final = 0.5
COUNT_EVERY_S: Final = 5.0
AHEAD: Final = 2000
"""Entries that wait for nothing but a slot: with so many nothing is read, as more would only take memory. Where lanes
wait for something else, reading goes on."""

QUICKEST_RESTART_S: Final = 0.02
"""No server is gone and there again in less: what is read within that time of the last read is of the same one."""

log = structlog.get_logger(__name__)


class Reader:
    """Fills *lanes* with what *worker* has to do on the partitions whose leases this process holds. *streams*: on a
    client of its own, as its reads wait."""

    def __init__(
        self,
        worker: AnyWorker,
        shared: Shared,
        streams: Streams,
        lanes: Lanes,
        committer: Committer,
    ) -> None:
        self._worker = worker
        self._streams = streams
        self._appends = shared.streams.appends
        self._lanes = lanes
        self._committer = committer
        self._leases = shared.leases
        self._in_flight = shared.settings.ferryman_max_in_flight
        self._suspect = shared.suspect
        self._owned: dict[int, int] = {}
        self._unclaimed: set[int] = set()
        self._history: dict[str, str] = {}
        self._last: dict[str, str] = {}  # beyond these ids nothing was there, or it has been read
        self._woken = False
        self._stopping = asyncio.Event()
        self._admission = Admission(worker, shared.pool, lanes, committer, self._stopping)
        self._failing: str | None = None
        self._turn = 0
        self._next_count = 0.0
        self._read_at = -math.inf
        self._losses = self._appends.losses
        self.paused = False
        self.reading: frozenset[int] = frozenset()
        """The partitions that the read under way may bring entries of: nobody else may read them before its end."""

    def stop(self) -> None:
        """End `run` after the read that is under way."""
        self._stopping.set()

    async def run(self) -> None:
        """Read until stopped."""
        while not self._stopping.is_set():
            self._follow_leases()
            room = min(self._in_flight - len(self._lanes), AHEAD - self._lanes.ready)
            readable = self._leases.readable(self._worker.name)
            if not readable or room <= 0 or self.paused or self._lanes.ready > AHEAD // 2:
                await self._pause()
                continue
            self.reading = frozenset(readable)
            try:
                if not await self._server_is_known():
                    await self._pause()
                    continue
                nothing_in = await self._read([key for p in readable for key in self._keys(p)], room)
                self.reading = frozenset()
                if nothing_in:
                    await self._wait(nothing_in, BLOCK_MS if room >= len(nothing_in) else SHORT_BLOCK_MS)
                self._failing = None
                self._read_at = time.monotonic()
            except Fenced as exc:
                self._fenced(exc)
            except StreamErrors as exc:
                await self._recover(exc)
            finally:
                self.reading = frozenset()

    async def _server_is_known(self) -> bool:
        """False while the server is one that was started again and of which nobody knows yet what it has lost: that
        comes back first, or a person's next event would be done before it. Raises: StreamErrors."""
        if not self._appends.watched:
            return True
        a_while_ago = time.monotonic() - self._read_at > QUICKEST_RESTART_S
        if a_while_ago and not self._appends.fenced and await self._appends.restarted():
            self._suspect()
        if self._appends.losses != self._losses:
            self._losses = self._appends.losses
            self._begin_anew()
        return not self._appends.fenced

    def _follow_leases(self) -> None:
        """Take up the partitions that are ours since the last look, from the beginning of what is pending there."""
        epochs = dict(self._leases.held(self._worker.name))
        gone = [p for p, epoch in self._owned.items() if epochs.get(p) != epoch]
        if gone:
            self._lanes.drop(gone)
        for partition, epoch in epochs.items():
            if self._owned.get(partition) != epoch:
                self._history.update((key, "0") for key in self._keys(partition))
                self._unclaimed.add(partition)
        self._owned = epochs
        self._unclaimed &= epochs.keys()
        self._history = {key: at for key, at in self._history.items() if partition_in(key) in epochs}

    def _keys(self, partition: int) -> list[str]:
        return [stream_key(topic, partition) for topic in self._worker.reads]

    async def _pause(self) -> None:
        self._lanes.changed.clear()
        waits = {asyncio.create_task(self._lanes.changed.wait()), asyncio.create_task(self._stopping.wait())}
        _, left = await asyncio.wait(waits, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()

    async def _read(self, keys: Sequence[str], room: int) -> Sequence[str]:
        """Take no more than *room* entries. Where that is less than one of each stream, the streams take turns.

        Returns the streams that there was nothing new in, if none of them had anything."""
        await self._claim()
        some = keys
        if room < len(keys):
            some = [keys[(self._turn + n) % len(keys)] for n in range(room)]
            self._turn = (self._turn + room) % len(keys)
        count = min(BATCH, room // len(some))
        if behind := {key: self._history[key] for key in some if key in self._history}:
            found = await self._streams.read(self._worker.name, behind, count=count, epochs=self._owned)
            reached = {delivery.key: delivery.id for delivery in found}
            self._history = {key: at for key, at in self._history.items() if key not in behind} | reached
            await self._admission.admit(found, self._owned, history=True)
            return ()
        if time.monotonic() >= self._next_count:
            await self._find_stranded(keys)
        found = await self._streams.read(self._worker.name, dict.fromkeys(some, ">"), count=count, epochs=self._owned)
        if not found:
            return some
        self._woken = False
        self._last.update((delivery.key, delivery.id) for delivery in found)
        await self._admission.admit(found, self._owned, history=False)
        return ()

    async def _claim(self) -> None:
        """Have every other process read nothing any more of what we took up."""
        if not self._unclaimed:
            return
        epochs = {partition: self._owned[partition] for partition in self._unclaimed}
        in_force = await self._streams.claim(self._worker.name, epochs)
        self._unclaimed.clear()
        for partition, epoch in in_force.items():
            if epoch != epochs[partition]:
                raise Fenced(partition, epoch)

    def _fenced(self, exc: Fenced) -> None:
        """The partition is another one's by now; or the server has lost our claim, and perhaps more."""
        epoch = self._owned.get(exc.partition, 0)
        log.warning("bus.read_fenced", worker=self._worker.name, partition=exc.partition, epoch=epoch, other=exc.epoch)
        if exc.epoch > epoch:
            self._leases.lost(self._worker.name, exc.partition, exc.epoch)
        else:
            self._appends.fence()
            self._suspect()
        self._begin_anew()

    async def _wait(self, keys: Sequence[str], block_ms: int) -> None:
        """Until there may be something new in *keys*, of which nothing was new a moment ago."""
        if self._woken:
            self._last.clear()  # somebody has read what we heard of: an operator by hand
        if unknown := [key for key in keys if key not in self._last]:
            self._last |= await self._streams.last_ids(unknown)
            self._woken = False
            return  # what came before these ids were told, and after the read, is to be read first
        self._woken = await self._streams.wait({key: self._last[key] for key in keys}, block_ms=block_ms)

    async def _find_stranded(self, keys: Sequence[str]) -> None:
        """Compare what is pending with what is in hand, now and then.

        A process that lost its lease in the middle of a read leaves entries pending that nobody holds: then read the
        history again.
        """
        self._next_count = time.monotonic() + COUNT_EVERY_S
        known = self._lanes.by_stream() + self._committer.unacknowledged()
        pending = await self._streams.pending(self._worker.name, keys)
        self._history.update((key, "0") for key, count in pending.items() if count > known[key])

    async def _recover(self, exc: BaseException) -> None:
        """After a read went wrong its entries may be pending under our name."""
        text = str(exc)
        if text != self._failing:
            self._failing = text
            log.warning("bus.read_failed", worker=self._worker.name, error_class=type(exc).__name__)
        if "NOGROUP" in text or "UNBLOCKED" in text or "no longer exists" in text:
            self._suspect()  # whoever mends makes the groups again, once everything is in its place
        self._read_at = -math.inf
        await asyncio.sleep(PAUSE_S)
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Claim, and read the history, before anything new."""
        self._unclaimed = set(self._owned)
        self._history = dict.fromkeys((key for partition in self._owned for key in self._keys(partition)), "0")
        self._last.clear()
