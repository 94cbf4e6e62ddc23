"""The reader: takes a worker's entries off the partitions it holds.

A read is never cancelled, and the client never repeats it. A new lease holder first claims its partition under its
epoch, which refuses every read under an earlier epoch. It then reads what is pending, in order, and only then what is
new. A reader does the same after an error of a read.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Sequence
from itertools import groupby
from typing import Final

import structlog

from adapters.redis.streams import StaleRead, StreamErrors, Streams, partition_in, stream_keys
from daemon.bus.admission import Admission
from daemon.bus.committer import Committer
from daemon.bus.lanes import Lanes
from daemon.bus.left import MOST
from daemon.bus.shared import Shared
from daemon.bus.worker import AnyWorker

BATCH: Final = 500
BLOCK_MS: Final = 1000
PAST: Final = 100
"""Entries of a stream that are read at a time past what is left on it."""

LEFT_WAIT_S: Final = 0.05
"""Longest wait for room of a key, of which something is left; other keys may have new entries meanwhile."""

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
        self._admission = Admission(worker, shared, lanes, committer, self._stopping)
        self._failures = shared.read_failures
        self._turn = 0
        self._quiet: set[str] = set()
        """The streams that were read to their ends, one part of all after another, since there was more."""

        self._next_count = 0.0
        self._read_at = -math.inf
        self._trusted_since = self._appends.trusted_since()
        self._mark = self._appends.mark
        self.paused = False
        self.reading: frozenset[int] = frozenset()
        """The partitions that the read under way may bring entries of: they are not handed over before its end."""

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
                if not await self._server_is_trusted():
                    await self._pause()
                    continue
                keys = [key for p in readable for key in self._keys(p)]
                if nothing_in := await self._read(keys, room):
                    self._quiet.update(nothing_in)
                else:
                    self._quiet.clear()
                self.reading = frozenset()
                if self._quiet.issuperset(keys):
                    self._quiet.clear()
                    await self._wait(keys)
                self._failures.over(self._worker.name)
                self._read_at = time.monotonic()
            except StaleRead as exc:
                self._stale_read(exc)
            except StreamErrors as exc:
                await self._recover(exc)
            finally:
                self.reading = frozenset()

    async def _server_is_trusted(self) -> bool:
        """False while the server may have lost something: that comes back first, or a person's next event would be done
        before it. Raises: StreamErrors."""
        since = self._appends.trusted_since()
        if since is not None and time.monotonic() - self._read_at > QUICKEST_RESTART_S:
            if await self._appends.restarted():
                self._suspect()
            since = self._appends.trusted_since()
        if since not in (None, self._trusted_since):
            self._trusted_since = since
            if self._appends.mark != self._mark:
                self._mark = self._appends.mark
                self._forget_waiting()
            self._begin_anew()
        return since is not None

    def _forget_waiting(self) -> None:
        """What was lost is there again, before what is newer of its keys: so nothing that is not begun keeps its place
        in a lane. What of it is pending still is in the history."""
        self._lanes.left.clear()
        for partition in self._owned:
            self._lanes.drop_waiting(partition)

    def _follow_leases(self) -> None:
        """Take up the partitions leased since the last call, from the beginning of what is pending there."""
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
        return stream_keys(self._worker.reads, [partition])

    async def _pause(self) -> None:
        self._lanes.changed.clear()
        waits = {asyncio.create_task(self._lanes.changed.wait()), asyncio.create_task(self._stopping.wait())}
        _, left = await asyncio.wait(waits, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()

    async def _read(self, keys: Sequence[str], room: int) -> Sequence[str]:
        """Take no more than *room* entries. Where that is less than one of each stream, the streams take turns.

        Returns the streams of which everything was read that they had; () when there may be more."""
        await self._claim()
        if await self._take_back(room):
            return ()
        if len(self._lanes.left) >= MOST:
            self._quiet.update(key for key in keys if self._lanes.left.by_stream[key])
            keys = [key for key in keys if not self._lanes.left.by_stream[key]]
            if not keys:
                await self._pause()
                return ()
        some = keys
        if room < len(keys):
            some = [keys[(self._turn + n) % len(keys)] for n in range(room)]
            self._turn = (self._turn + room) % len(keys)
        count = min(BATCH, room // len(some))
        if any(self._lanes.left.by_stream[key] for key in some):
            count = max(count, PAST)  # most are left again, and take no room: what comes behind them is to be seen
        if behind := {key: self._history[key] for key in some if key in self._history}:
            found = await self._streams.read(self._worker.name, behind, count=count, epochs=self._owned)
            reached = {entry.key: entry.id for entry in found}
            self._history = {key: at for key, at in self._history.items() if key not in behind} | reached
            await self._admission.admit(found, self._owned, history=True, room=room)
            return ()
        if time.monotonic() >= self._next_count:
            await self._find_stranded(keys)
        found = await self._streams.read(self._worker.name, dict.fromkeys(some, ">"), count=count, epochs=self._owned)
        if not found:
            return some
        self._woken = False
        self._last.update((entry.key, entry.id) for entry in found)
        await self._admission.admit(found, self._owned, history=False, room=room)
        return some if len(found) < count else ()  # so few are all that there was

    async def _take_back(self, room: int) -> bool:
        """Read again what was left of keys that have room now; returns whether there was such."""
        taken = self._lanes.take_back(room)
        if not taken:
            return False
        try:
            found = await self._streams.fetch([entry.ref for entry in taken])
        except BaseException:
            self._lanes.left.put_back(taken)
            raise
        for history, some in groupby(zip(taken, found, strict=True), key=lambda pair: pair[0].history):
            await self._admission.admit([entry for _, entry in some], self._owned, history=history)
        return True

    async def _claim(self) -> None:
        """Claim the partitions that this process took up: reads of other processes there are refused from now on."""
        if not self._unclaimed:
            return
        epochs = {partition: self._owned[partition] for partition in self._unclaimed}
        in_force = await self._streams.claim(self._worker.name, epochs)
        self._unclaimed.clear()
        for partition, epoch in in_force.items():
            if epoch != epochs[partition]:
                raise StaleRead(partition, epoch)

    def _stale_read(self, exc: StaleRead) -> None:
        """The partition is another one's by now; or the server has lost our claim, and perhaps more."""
        epoch = self._owned.get(exc.partition, 0)
        log.warning("bus.stale_read", worker=self._worker.name, partition=exc.partition, epoch=epoch, other=exc.epoch)
        if exc.epoch > epoch:
            self._leases.lost(self._worker.name, exc.partition, exc.epoch)
        else:
            self._appends.distrust()
            self._suspect()
        self._begin_anew()

    async def _wait(self, keys: Sequence[str]) -> None:
        """Wait until there may be something new in *keys*, which had nothing new a moment ago, or until a key has room
        for what was left of it."""
        if self._lanes.left:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEFT_WAIT_S):
                    await self._lanes.wanted.wait()
            return
        if self._woken:
            self._last.clear()  # the entry that ended the wait is gone: an operator has read it by hand
        if unknown := [key for key in keys if key not in self._last]:
            self._last |= await self._streams.last_ids(unknown)
            self._woken = False
            return  # what came before these ids were told, and after the read, is to be read first
        self._woken = await self._streams.wait({key: self._last[key] for key in keys}, block_ms=BLOCK_MS)

    async def _find_stranded(self, keys: Sequence[str]) -> None:
        """Compare what is pending with what is in hand, now and then; where more is pending, read the history again.

        An operator's own XREADGROUP or XCLAIM under the name of the owner leaves entries pending that no process has in
        hand. No process does: a read under an epoch that is not in force takes nothing, and an error of a read is
        followed by the history anyway.
        """
        self._next_count = time.monotonic() + COUNT_EVERY_S
        known = self._lanes.by_stream() + self._committer.unacknowledged()
        pending = await self._streams.pending(self._worker.name, keys)
        self._history.update((key, "0") for key, count in pending.items() if count > known[key])

    async def _recover(self, exc: BaseException) -> None:
        """Begin anew after a failed read: its entries may be pending for this process."""
        text = str(exc)
        self._failures.failed(self._worker.name, exc)
        if "NOGROUP" in text or "UNBLOCKED" in text or "no longer exists" in text:
            self._suspect()  # recovery makes the groups again, once everything is in its place
        self._read_at = -math.inf
        await asyncio.sleep(PAUSE_S)
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Claim, and read the history, before anything new."""
        self._unclaimed = set(self._owned)
        self._history = dict.fromkeys((key for partition in self._owned for key in self._keys(partition)), "0")
        self._last.clear()
