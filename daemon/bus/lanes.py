"""Lanes: order within a key, keys side by side.

A lane holds one key's entries in order; only its head is ever handled, and the next one only when the head has been
committed. What waits (a delay, a retry, a provider that is down) waits in its lane and takes no slot.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from schemas.envelope import Event


@dataclass(slots=True, eq=False)
class Held:
    """An entry that was read and is not yet settled. *key* and *id* name it on the stream.

    *attempts*: counted failures. *failures*: failures in a row, counted or not (the backoff grows with it).
    *failed_at*: loop time of the last one. *copies*: further entries of the same event, acknowledged with it.
    *deliveries*: how often it has been read, this time included.
    *begun*: how often a process died over it, or beside it. *active*: in a slot or on its way to Postgres.
    *dropped*: its lease was lost; who holds the next one, be it ourselves, does it anew, and its result counts no more.
    *epoch*: of the lease it was read under. Its result counts under no other: it may be on its way when that is lost.
    """

    key: str
    partition: int
    id: str
    event: Event
    attempts: int = 0
    failures: int = 0
    failed_at: float = float("-inf")
    step: str = ""
    memo: Any = None
    copies: list[tuple[str, str]] = field(default_factory=list)
    began: float | None = None
    active: bool = False
    deliveries: int = 1
    begun: int = 0
    dropped: bool = False
    epoch: int = 0


class Lanes:
    """The entries that this process holds for one worker."""

    def __init__(self) -> None:
        self._lanes: dict[str, list[Held]] = {}  # most hold one entry, for which a deque takes twelve times the memory
        self._ready: asyncio.Queue[Held] = asyncio.Queue()
        self._entries: dict[tuple[str, str], Held] = {}
        self._events: dict[tuple[str, str], Held] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._parked: deque[Held] = deque()
        self.changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def ready(self) -> int:
        """How many entries may be handled now, and wait for a slot."""
        return self._ready.qsize()

    def holds(self, key: str, entry_id: str) -> bool:
        """Whether this entry is in hand."""
        return (key, entry_id) in self._entries

    def first(self, event: Event) -> Held | None:
        """The entry in hand that carries *event*, of which any other one is a copy."""
        return self._events.get((event.id, event.replayid))

    def add(self, held: Held, *, decided: bool = False) -> None:
        """Take *held* in, behind what its key already has. *decided*: it is on its way to Postgres, nobody handles it.

        A copy of an event in hand only waits for the end of the first one.
        """
        self._entries[held.key, held.id] = held
        first = self.first(held.event)
        if first is not None:
            first.copies.append((held.key, held.id))
            return
        self._events[held.event.id, held.event.replayid] = held
        held.active = decided
        lane = self._lanes.get(held.event.subject)
        if lane is not None:
            lane.append(held)
        else:
            self._lanes[held.event.subject] = [held]
            if not decided:
                self._ready.put_nowait(held)

    async def next(self) -> Held:
        """The next entry that may be handled."""
        while True:
            held = await self._ready.get()
            if self._has(held):  # else its lease was lost while it was ready
                held.active = True
                return held

    def done(self, held: Held) -> list[tuple[str, str]]:
        """*held* is committed: let the next one of its key go. Returns the entries to acknowledge, copies included."""
        entries = [(held.key, held.id), *held.copies]
        if not self._has(held):
            return entries
        del self._events[held.event.id, held.event.replayid]
        for entry in entries:
            self._entries.pop(entry, None)
        lane = self._lanes[held.event.subject]
        del lane[0]
        if lane:
            self._ready.put_nowait(lane[0])
        else:
            del self._lanes[held.event.subject]
        self.changed.set()
        return entries

    def again(self, held: Held, delay_s: float) -> None:
        """Handle *held* again after *delay_s* seconds."""
        held.active = False
        if not self._has(held):
            return
        if delay_s <= 0:
            self._ready.put_nowait(held)
            return
        timer = asyncio.get_running_loop().call_later(delay_s, self._due, held)
        self._timers[held.event.subject] = timer

    def _due(self, held: Held) -> None:
        self._timers.pop(held.event.subject, None)
        self._ready.put_nowait(held)

    def park(self, held: Held) -> None:
        """*held* waits until its provider is back."""
        held.active = False
        if self._has(held):
            self._parked.append(held)

    @property
    def parked(self) -> int:
        """How many lanes wait for their provider."""
        return len(self._parked)

    def unpark(self, count: int | None = None) -> None:
        """Let *count* parked lanes go, oldest first (all when None)."""
        for _ in range(len(self._parked) if count is None else min(count, len(self._parked))):
            self._ready.put_nowait(self._parked.popleft())

    def drop(self, partitions: Iterable[int]) -> int:
        """Forget what is held of *partitions*: another process owns them now. Returns how many entries that were."""
        gone = set(partitions)
        return self._forget([held for held in self._entries.values() if held.partition in gone])

    def drop_waiting(self, partition: int) -> int:
        """Forget what nobody works on in *partition*; returns how many entries of it are left."""
        mine = [held for held in self._entries.values() if held.partition == partition]
        return len(mine) - self._forget([held for held in mine if not held.active])

    def _forget(self, dropped: Sequence[Held]) -> int:
        if not dropped:
            return 0
        copies: list[tuple[str, str]] = []
        for held in dropped:
            held.dropped = True
            del self._entries[held.key, held.id]
            identity, subject = (held.event.id, held.event.replayid), held.event.subject
            if self._events.get(identity) is not held:
                continue  # a copy, which stood in no lane
            del self._events[identity]
            copies += held.copies
            lane = self._lanes[subject]
            if lane[0] is held and (timer := self._timers.pop(subject, None)) is not None:
                timer.cancel()
            lane.remove(held)
            if not lane:
                del self._lanes[subject]
        for entry in copies:
            if (copy := self._entries.pop(entry, None)) is not None:
                self.add(copy)  # it came under another key, and nobody else will do it now
        self._parked = deque(held for held in self._parked if self._has(held))
        self.changed.set()
        return len(dropped)

    def _has(self, held: Held) -> bool:
        return self._entries.get((held.key, held.id)) is held

    def by_stream(self) -> Counter[str]:
        """How many entries of each stream are in hand."""
        return Counter(key for key, _ in self._entries)

    def oldest(self) -> datetime | None:
        """When the oldest event in hand arrived."""
        return min((held.event.time for held in self._entries.values()), default=None)

    def close(self) -> None:
        """Stop every timer; what waits stays pending on the stream."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
