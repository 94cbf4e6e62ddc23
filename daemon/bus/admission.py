"""Admission: of what was read, into the lanes goes what is still to be done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from adapters.postgres.bus import inbox, payloads
from adapters.postgres.pool import Pool, store_is_down
from adapters.redis.streams import Delivery, StreamErrors, Streams, partition_in
from daemon.bus.committer import Committer, Settled, body_hash
from daemon.bus.lanes import Held, Lanes
from daemon.bus.outcome import Worker
from daemon.bus.settle import Finish
from schemas.envelope import Event, event_id, from_fields
from schemas.errors import Malformed

PAUSE_S: Final = 0.5

log = structlog.get_logger(__name__)


class Admission:
    """Puts into *lanes* what *worker* has to do. Once *stopping* is set it waits for Postgres no more."""

    def __init__(
        self,
        worker: Worker,
        streams: Streams,
        pool: Pool,
        lanes: Lanes,
        committer: Committer,
        stopping: asyncio.Event,
    ) -> None:
        self._worker = worker
        self._streams = streams
        self._pool = pool
        self._lanes = lanes
        self._committer = committer
        self._stopping = stopping

    async def admit(self, found: Sequence[Delivery], epochs: Mapping[int, int], *, history: bool) -> None:
        """Put into lanes what is this worker's to do; acknowledge what is done already or none of its business."""
        entries: list[Held] = []
        copies: list[tuple[Held, Event]] = []
        for delivery in found:
            if self._lanes.holds(delivery.key, delivery.id):
                continue  # read again: of the history, or because its group was made anew
            held = self._held(delivery, epochs)
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

    def _held(self, delivery: Delivery, epochs: Mapping[int, int]) -> Held | Settled | None:
        partition = partition_in(delivery.key)
        epoch = epochs.get(partition, 0)
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
