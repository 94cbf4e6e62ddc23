"""Lanes: order within a key, keys side by side.

A lane holds one key's entries in order; only its head is ever handled, and the next one only when the head has been
committed. An entry that waits (for a delay, a retry, a channel that is away, a place within a rate limit) stays in its
lane and takes no slot. A key has a share of the lanes; what comes behind it is left on the stream (`left.py`).
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from adapters.redis.limits import Ticket
from daemon.bus.left import EntryRef, Left, LeftEntry
from schemas.envelope import Event, InboxKey

SHARE: Final = 50
"""Entries of one key that are held: a lane takes so long to end with half of them that the rest is there in time."""


@dataclass(slots=True, eq=False)
class Entry:
    """A stream entry that was read and is not yet settled.

    *epoch*: of the lease that it was read under; its result counts under no other. *attempts*: counted failures.
    *failures*: failures in a row, counted or not (the backoff grows with it). *failed_at*: loop time of the last one.
    *step*, *memo*: what the last Later said. *ticket*: its place in the line for a rate limit. *copies*: further
    entries of the same event, acknowledged with it. *began*: loop time of the first call of its handler. *active*: in a
    slot, or on its way to Postgres. *taken_over*: how often it was found pending, read before and not ended (2: twice
    or more). *begun*: how often a process recorded that it begins this event, and then died. *dropped*: its lease was
    lost. The next lease holder (which may be this process again) handles the event anew, and the result of this entry
    no longer counts. *told*: why it waits, as its worker's rows say already.
    """

    ref: EntryRef
    partition: int
    event: Event
    epoch: int = 0
    attempts: int = 0
    failures: int = 0
    failed_at: float = float("-inf")
    step: str = ""
    memo: Any = None
    ticket: Ticket | None = None
    copies: list[EntryRef] = field(default_factory=list)
    began: float | None = None
    active: bool = False
    taken_over: int = 0
    begun: int = 0
    dropped: bool = False
    told: str = ""


class Lanes:
    """The entries that this process holds for one worker, of each key *share* at most."""

    def __init__(self, share: int = SHARE) -> None:
        self._share = share
        self._lanes: dict[str, list[Entry]] = {}  # most hold one entry, for which a deque takes twelve times the memory
        self._ready: asyncio.Queue[Entry] = asyncio.Queue()
        self._entries: dict[EntryRef, Entry] = {}
        self._events: dict[InboxKey, Entry] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._parked: dict[tuple[str, ...], deque[Entry]] = {}
        self.left = Left()
        self.changed = asyncio.Event()
        self.wanted = asyncio.Event()
        """Set when a key has room for what is left of it."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def ready(self) -> int:
        """How many entries may be handled now, and wait for a slot."""
        return self._ready.qsize()

    def holds(self, ref: EntryRef) -> bool:
        """Whether this entry is in hand, or left on the stream."""
        return ref in self._entries or ref in self.left

    def first(self, event: Event) -> Entry | None:
        """The entry in hand that carries *event*; any further entry of the event is a copy of it."""
        return self._events.get(event.inbox_key)

    def has_room(self, subject: str, coming: int) -> bool:
        """Whether one more entry of the key *subject* may be held, behind *coming* that are about to be added."""
        return self._load(subject) + coming < self._share and not self.left.has(subject)

    def take_back(self, most: int) -> list[LeftEntry]:
        """At most *most* of what was left of keys that have ended with half of their share. It is to be added now, or
        to be put back."""
        self.wanted.clear()
        return self.left.take(self._wanted, most) if self.left else []

    def _wanted(self, subject: str) -> int:
        load = self._load(subject)
        return self._share - load if load <= self._share // 2 else 0

    def _load(self, subject: str) -> int:
        """How many entries of a key are in hand, copies included."""
        lane = self._lanes.get(subject)
        return 0 if lane is None else sum(1 + len(entry.copies) for entry in lane)

    def add(self, entry: Entry, *, decided: bool = False) -> None:
        """Put *entry* behind the entries of its key. *decided*: it is on its way to Postgres, so no slot takes it.

        A copy of an event in hand only waits for the end of the first entry.
        """
        self._entries[entry.ref] = entry
        event_key = entry.event.inbox_key
        first = self._events.get(event_key)
        if first is not None:
            first.copies.append(entry.ref)
            return
        self._events[event_key] = entry
        entry.active = decided
        lane = self._lanes.get(entry.event.subject)
        if lane is not None:
            lane.append(entry)
        else:
            self._lanes[entry.event.subject] = [entry]
            if not decided:
                self._ready.put_nowait(entry)

    async def next(self) -> Entry:
        """The next entry that may be handled."""
        while True:
            entry = await self._ready.get()
            if self._has(entry):  # else its lease was lost while it was ready
                entry.active = True
                return entry

    def behind(self, entry: Entry) -> list[Event]:
        """The events of its key that wait in hand for the end of *entry*."""
        lane = self._lanes.get(entry.event.subject, [])
        return [one.event for one in lane[1:]] if lane and lane[0] is entry else []

    def done(self, entry: Entry) -> list[EntryRef]:
        """*entry* is committed: the next entry of its key may be handled. Returns the entries to acknowledge, copies
        included."""
        refs = [entry.ref, *entry.copies]
        if not self._has(entry):
            return refs
        del self._events[entry.event.inbox_key]
        for ref in refs:
            self._entries.pop(ref, None)
        lane = self._lanes[entry.event.subject]
        if len(lane) == 1:
            del self._lanes[entry.event.subject]
        else:
            del lane[0]
            self._ready.put_nowait(lane[0])
        self.changed.set()
        if self.left.has(entry.event.subject) and self._wanted(entry.event.subject):
            self.wanted.set()
        return refs

    def again(self, entry: Entry, delay_s: float) -> None:
        """Handle *entry* again after *delay_s* seconds."""
        entry.active = False
        if not self._has(entry):
            return
        if delay_s <= 0:
            self._ready.put_nowait(entry)
            return
        timer = asyncio.get_running_loop().call_later(delay_s, self._due, entry)
        self._timers[entry.event.subject] = timer

    def _due(self, entry: Entry) -> None:
        self._timers.pop(entry.event.subject, None)
        self._ready.put_nowait(entry)

    def stand_in_line(self, entry: Entry, ticket: Ticket) -> None:
        """*entry* waits until *ticket* is called."""
        entry.active = False
        entry.ticket = ticket
        if not self._has(entry):
            ticket.called.cancel()
            return
        ticket.called.add_done_callback(lambda called: None if called.cancelled() else self._ready.put_nowait(entry))

    def park(self, entry: Entry, *channels: str) -> None:
        """*entry* waits until the first of *channels* is back, or one of the others, by which it may go instead."""
        entry.active = False
        if self._has(entry):
            self._parked.setdefault(channels, deque()).append(entry)

    @property
    def awaited(self) -> Sequence[tuple[str, ...]]:
        """The channels for which lanes are parked together."""
        return list(self._parked)

    @property
    def parked(self) -> Mapping[str, int]:
        """Channel -> how many lanes wait for it."""
        counts: Counter[str] = Counter()
        for channels, waiting in self._parked.items():
            counts[channels[0]] += len(waiting)
        return counts

    def unpark(self, *channels: str, count: int | None = None) -> None:
        """Let *count* lanes parked for *channels* go, oldest first (all when None)."""
        waiting = self._parked.get(channels, deque())
        for _ in range(len(waiting) if count is None else min(count, len(waiting))):
            self._ready.put_nowait(waiting.popleft())
        if not waiting:
            self._parked.pop(channels, None)

    def drop(self, partitions: Iterable[int]) -> int:
        """Forget the entries of *partitions*, which another process owns now. Returns how many entries they were."""
        gone = set(partitions)
        self.left.drop(gone)
        return self._forget([entry for entry in self._entries.values() if entry.partition in gone])

    def drop_waiting(self, partition: int) -> int:
        """Forget the entries of *partition* that are not active; returns how many entries of it are left."""
        self.left.drop({partition})
        mine = [entry for entry in self._entries.values() if entry.partition == partition]
        return len(mine) - self._forget([entry for entry in mine if not entry.active])

    def _forget(self, dropped: Sequence[Entry]) -> int:
        if not dropped:
            return 0
        copies: list[EntryRef] = []
        for entry in dropped:
            entry.dropped = True
            del self._entries[entry.ref]
            event_key, subject = entry.event.inbox_key, entry.event.subject
            first = self._events.get(event_key)
            if first is not entry:  # a copy, which stood in no lane
                if first is not None:
                    first.copies.remove(entry.ref)
                continue
            del self._events[event_key]
            copies += entry.copies
            lane = self._lanes[subject]
            if lane[0] is entry and (timer := self._timers.pop(subject, None)) is not None:
                timer.cancel()
            if entry.ticket is not None:
                entry.ticket.called.cancel()
            lane.remove(entry)
            if not lane:
                del self._lanes[subject]
        for ref in copies:
            if (copy := self._entries.pop(ref, None)) is not None:
                self.add(copy)  # its own partition is still held here, so no other process would handle it
        for channels, waiting in list(self._parked.items()):
            left = deque(entry for entry in waiting if self._has(entry))
            self._parked[channels] = left
            if not left:
                del self._parked[channels]
        self.changed.set()
        return len(dropped)

    def _has(self, entry: Entry) -> bool:
        return self._entries.get(entry.ref) is entry

    def by_stream(self) -> Counter[str]:
        """How many entries of each stream are in hand, or left there."""
        return Counter(ref.key for ref in self._entries) + self.left.by_stream

    def oldest(self) -> datetime | None:
        """When the oldest event in hand arrived."""
        return min((entry.event.time for entry in self._entries.values()), default=None)

    def close(self) -> None:
        """Stop every timer and give up every place in line; entries that wait stay pending on the stream."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for entry in self._entries.values():
            if entry.ticket is not None:
                entry.ticket.called.cancel()
