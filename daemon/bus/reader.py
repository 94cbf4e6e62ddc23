"""The reader: takes a worker's entries off the partitions it holds, and admits those that are still to be done.

A read is never cancelled and never repeated by the client. Who takes a partition first reads what is pending there,
from the beginning and in order, and only then what is new; so does everybody after an error of a read.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from adapters.append import Appends
from adapters.postgres import inbox, payloads
from adapters.postgres.pool import Pool, store_is_down
from adapters.streams import Delivery, StreamErrors, Streams, partition_in, stream_key
from daemon.bus.committer import Committer, Settled, body_hash
from daemon.bus.lanes import Held, Lanes
from daemon.bus.leases import Leases
from daemon.bus.outcome import Worker
from daemon.bus.settle import Finish
from schemas.envelope import Event, event_id, from_fields
from schemas.errors import Malformed

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
    """Fills *lanes* with what *worker* has to do on the partitions that *leases* gives us."""

    def __init__(
        self,
        worker: Worker,
        streams: Streams,
        appends: Appends,
        pool: Pool,
        lanes: Lanes,
        committer: Committer,
        leases: Leases,
        *,
        in_flight: int,
        suspect: Callable[[], None],
    ) -> None:
        self._worker = worker
        self._streams = streams
        self._appends = appends
        self._pool = pool
        self._lanes = lanes
        self._committer = committer
        self._leases = leases
        self._in_flight = in_flight
        self._suspect = suspect
        self._owned: dict[int, int] = {}
        self._history: dict[str, str] = {}
        self._stopping = asyncio.Event()
        self._failing: str | None = None
        self._turn = 0
        self._next_count = 0.0
        self._read_at = -math.inf
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
                await self._read([key for partition in readable for key in self._keys(partition)], room)
                self._failing = None
                self._read_at = time.monotonic()
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
        self._owned = epochs
        self._history = {key: at for key, at in self._history.items() if partition_in(key) in epochs}

    def _keys(self, partition: int) -> list[str]:
        return [stream_key(topic, partition) for topic in self._worker.reads]

    async def _pause(self) -> None:
        self._lanes.changed.clear()
        waits = {asyncio.create_task(self._lanes.changed.wait()), asyncio.create_task(self._stopping.wait())}
        _, left = await asyncio.wait(waits, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()

    async def _read(self, keys: Sequence[str], room: int) -> None:
        """Take no more than *room* entries. Where that is less than one of each stream, the streams take turns."""
        some, block_ms = keys, BLOCK_MS
        if room < len(keys):
            some, block_ms = [keys[(self._turn + n) % len(keys)] for n in range(room)], SHORT_BLOCK_MS
            self._turn = (self._turn + room) % len(keys)
        count = min(BATCH, room // len(some))
        if behind := {key: self._history[key] for key in some if key in self._history}:
            found = await self._streams.read(self._worker.name, behind, count=count, block_ms=None)
            reached = {delivery.key: delivery.id for delivery in found}
            self._history = {key: at for key, at in self._history.items() if key not in behind} | reached
            await self._admit([d for d in found if not self._lanes.holds(d.key, d.id)], history=True)
            return
        if time.monotonic() >= self._next_count:
            await self._find_stranded(keys)
        found = await self._streams.read(self._worker.name, dict.fromkeys(some, ">"), count=count, block_ms=block_ms)
        if found:
            await self._admit(found, history=False)

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
        """After a read went wrong its entries may be pending under our name: read the history before anything new."""
        text = str(exc)
        if text != self._failing:
            self._failing = text
            log.warning("bus.read_failed", worker=self._worker.name, error_class=type(exc).__name__)
        if "NOGROUP" in text or "UNBLOCKED" in text or "no longer exists" in text:
            self._suspect()  # whoever mends makes the groups again, once everything is in its place
        self._read_at = -math.inf
        await asyncio.sleep(PAUSE_S)
        self._history = dict.fromkeys((key for partition in self._owned for key in self._keys(partition)), "0")

    async def _admit(self, found: Sequence[Delivery], *, history: bool) -> None:
        """Put into lanes what is this worker's to do; acknowledge what is done already or none of its business."""
        entries: list[Held] = []
        copies: list[tuple[Held, Event]] = []
        for delivery in found:
            held = self._held(delivery)
            if held is None:
                self._committer.ack([(delivery.key, delivery.id)])
            elif isinstance(held, Settled):
                self._lanes.add(held.held, decided=True)
                self._committer.submit(held)
            elif (first := self._lanes.first(held.event)) is not None:
                # before anything is awaited: the first one may end meanwhile, unseen by a query that began before
                self._lanes.add(held)
                copies.append((held, first.event))
            else:
                entries.append(held)
        while entries or copies:
            try:
                await self._admit_events(entries, copies, history)
                return
            except Exception as exc:
                if not store_is_down(exc):
                    raise
                if self._stopping.is_set():
                    return  # they stay pending, and the next start reads them
                await asyncio.sleep(PAUSE_S)

    def _held(self, delivery: Delivery) -> Held | Settled | None:
        partition = partition_in(delivery.key)
        epoch = self._owned.get(partition, 0)
        if not delivery.fields:
            log.error("bus.entry_lost", worker=self._worker.name, stream=delivery.key, entry=delivery.id)
            return None
        try:
            event = from_fields(delivery.fields)
        except Malformed as exc:
            event = _unreadable(delivery)
            held = Held(delivery.key, partition, delivery.id, event, epoch=epoch)
            return Settled(held, Finish("dead", "Malformed", error=exc), datetime.now(UTC))
        return Held(delivery.key, partition, delivery.id, event, epoch=epoch) if self._worker.concerns(event) else None

    async def _admit_events(self, entries: list[Held], copies: list[tuple[Held, Event]], history: bool) -> None:
        name = self._worker.name
        await self._fetch([*entries, *(copy for copy, _ in copies)])
        events = [held.event for held in entries]
        seen = await inbox.seen(self._pool, name, events)
        tried = await inbox.attempts(self._pool, name, events) if history else {}
        deliveries = await self._deliveries(entries) if history else {}
        others = [(event, digest) for i, first in seen.items() if (digest := body_hash(event := events[i])) != first]
        others += _other_bodies(events, copies)
        if others:
            await inbox.conflicts(self._pool, others)
            for event, _ in others:
                log.warning("event.same_id_other_body", worker=name, event_id=event.id, source=event.source)
        self._committer.ack([(held.key, held.id) for i, held in enumerate(entries) if i in seen])
        for i, held in enumerate(entries):
            if i not in seen:
                held.attempts, held.begun = tried.get((held.event.id, held.event.replayid), (0, 0))
                held.failures = held.attempts
                held.deliveries = deliveries.get((held.key, held.id), 1)
                self._lanes.add(held)

    async def _deliveries(self, entries: Sequence[Held]) -> dict[tuple[str, str], int]:
        try:
            return await self._streams.deliveries(self._worker.name, [(held.key, held.id) for held in entries])
        except StreamErrors:
            return {}  # the count only warns

    async def _fetch(self, entries: list[Held]) -> None:
        """Put the payloads of large events back in their place."""
        wanted = [held for held in entries if held.event.dataref]
        if not wanted:
            return
        found = await payloads.fetch(self._pool, [(held.event.id, held.event.dataref) for held in wanted])
        for held in wanted:
            held.event = held.event.with_data(found.get((held.event.id, held.event.dataref), b""))


def _other_bodies(events: Sequence[Event], copies: Sequence[tuple[Held, Event]]) -> list[tuple[Event, bytes]]:
    """Of the copies of events that are in hand or in *events* themselves: those with another body, and its digest."""
    firsts: dict[tuple[str, str], Event] = {}
    pairs = [(copy.event, first) for copy, first in copies]
    pairs += [(event, firsts.setdefault((event.id, event.replayid), event)) for event in events]
    return [
        (event, digest)
        for event, first in pairs
        if event.data != first.data and (digest := body_hash(event)) != body_hash(first)
    ]


def _unreadable(delivery: Delivery) -> Event:
    """A stand-in for an entry that is no event of ours, so that it can be kept and looked at."""
    raw = b" ".join(key + b"=" + value for key, value in delivery.fields.items())
    return Event(
        id=event_id("bus", delivery.key, delivery.id),
        type="unreadable",
        source="bus",
        subject=f"unreadable:{delivery.key}:{delivery.id}",
        time=datetime.now(UTC),
        data=raw[:100_000],
    )
