"""Admission: of what was read, into the lanes goes what is still to be done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from adapters.postgres.bus import inbox, payloads
from adapters.postgres.bus.workers import EPOCH
from adapters.postgres.pool import store_is_down
from adapters.redis.streams import StreamEntry, partition_in
from daemon.bus.committer import Committer, Settled
from daemon.bus.endings import body_hash
from daemon.bus.lanes import Entry, Lanes
from daemon.bus.left import EntryRef, LeftEntry
from daemon.bus.settle import Finish
from daemon.bus.shared import Shared
from daemon.bus.worker import AnyWorker
from schemas.envelope import Event, InboxKey, event_id, from_fields
from schemas.errors import Malformed

PAUSE_S: Final = 0.5

log = structlog.get_logger(__name__)


class Admission:
    """Puts into *lanes* what *worker* has to do. It has nothing to do with what was accepted before it began. Once
    *stopping* is set, Postgres is waited for no more."""

    def __init__(
        self,
        worker: AnyWorker,
        shared: Shared,
        lanes: Lanes,
        committer: Committer,
        stopping: asyncio.Event,
    ) -> None:
        self._worker = worker
        self._pool = shared.pool
        self._postgres = shared.stores.postgres
        self._lanes = lanes
        self._committer = committer
        self._stopping = stopping
        self._since = shared.since

    async def admit(
        self, found: Sequence[StreamEntry], epochs: Mapping[int, int], *, history: bool, room: int | None = None
    ) -> None:
        """Put into lanes what is this worker's to do; acknowledge what is done already or none of its business.

        An entry is left on the stream where its key has its share in hand, or *room* entries are taken. None: it was
        taken back from there.
        """
        coming: dict[str, int] = {}
        entries: list[Entry] = []
        copies: list[tuple[Entry, Event]] = []
        for delivery in found:
            ref = EntryRef(delivery.key, delivery.id)
            if self._lanes.holds(ref):
                continue  # read again: of the history, or because its group was made anew
            entry = self._entry(ref, delivery, epochs)
            if entry is None:
                self._committer.ack([ref])
            elif isinstance(entry, Settled):
                self._lanes.add(entry.entry, decided=True)
                self._committer.submit(entry)
            elif room is not None and (
                len(entries) >= room or not self._lanes.has_room(subject := entry.event.subject, coming.get(subject, 0))
            ):
                self._lanes.left.add(LeftEntry(entry.event.subject, ref, history))
            elif (first := self._lanes.first(entry.event)) is not None:
                # before anything is awaited: the first one may end meanwhile, unseen by a query that began before
                self._lanes.add(entry)
                copies.append((entry, first.event))
            else:
                coming[entry.event.subject] = coming.get(entry.event.subject, 0) + 1
                entries.append(entry)
        failed = False
        while entries or copies:
            try:
                await self._admit_events(entries, copies, history)
                if failed:
                    self._postgres.answered()
                return
            except Exception as exc:
                if not store_is_down(exc):
                    raise
                self._postgres.noticed(exc)
                failed = True
                if self._stopping.is_set():
                    return  # they stay pending, and the next start reads them
                await asyncio.sleep(PAUSE_S)

    def _entry(self, ref: EntryRef, delivery: StreamEntry, epochs: Mapping[int, int]) -> Entry | Settled | None:
        """The entry as the lanes hold it; its end, where it cannot be read; None where it is not this worker's."""
        partition = partition_in(ref.key)
        epoch = epochs.get(partition, 0)
        if not delivery.fields:
            log.error("bus.entry_lost", worker=self._worker.name, stream=ref.key, entry=ref.id)
            return None
        try:
            event = from_fields(delivery.fields)
        except Malformed as exc:
            entry = Entry(ref, partition, _unreadable(delivery), epoch)
            return Settled(entry, Finish("dead", "Malformed", error=exc), datetime.now(UTC))
        since = self._since.get(self._worker.name, EPOCH)
        return Entry(ref, partition, event, epoch) if self._worker.concerns(event, since) else None

    async def _admit_events(self, entries: list[Entry], copies: list[tuple[Entry, Event]], history: bool) -> None:
        name = self._worker.name
        await self._fetch([*entries, *(copy for copy, _ in copies)])
        events = [entry.event for entry in entries]
        seen = await inbox.seen(self._pool, name, events)
        tried = await inbox.attempts(self._pool, name, events) if history else {}
        others = _other_bodies(events, copies)
        if seen:
            ended = [(event, seen[event.inbox_key]) for event in events if event.inbox_key in seen]
            others += [(event, digest) for event, first in ended if (digest := body_hash(event)) != first]
        if others:
            await inbox.conflicts(self._pool, others)
            for event, _ in others:
                log.warning("event.same_id_other_body", worker=name, event_id=event.id, source=event.source)
        if history:  # counted here: the stream's own count of deliveries does not outlive every restart of its server
            unseen = [event for event in events if event.inbox_key not in seen]
            await inbox.take_over(self._pool, name, [event for event in unseen if event.inbox_key not in tried])
        for entry in entries:
            if seen and entry.event.inbox_key in seen:
                self._committer.ack([entry.ref])
                continue
            if history:
                entry.attempts, entry.begun = tried.get(entry.event.inbox_key, (0, 0))
                entry.failures = entry.attempts
                entry.taken_over = 2 if entry.event.inbox_key in tried else 1
            self._lanes.add(entry)

    async def _fetch(self, entries: list[Entry]) -> None:
        """Put the payloads of large events back in their place. Where one is absent the event keeps its reference, and
        the consumer waits for the payload."""
        wanted = [entry for entry in entries if entry.event.dataref]
        if not wanted:
            return
        found = await payloads.fetch(self._pool, [(entry.event.id, entry.event.dataref) for entry in wanted])
        for entry in wanted:
            if (data := found.get((entry.event.id, entry.event.dataref))) is not None:
                entry.event = entry.event.with_data(data)
            else:
                log.error("bus.payload_absent", worker=self._worker.name, event_id=entry.event.id)


def _other_bodies(events: Sequence[Event], copies: Sequence[tuple[Entry, Event]]) -> list[tuple[Event, bytes]]:
    """Of the copies of events that are in hand or in *events* themselves: those with another body, and its digest."""
    firsts: dict[InboxKey, Event] = {}
    pairs = [(copy.event, first) for copy, first in copies]
    pairs += [(event, firsts.setdefault(event.inbox_key, event)) for event in events]
    return [
        (event, digest)
        for event, first in pairs
        if event.data != first.data and (digest := body_hash(event)) != body_hash(first)
    ]


def _unreadable(delivery: StreamEntry) -> Event:
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
