"""What is left on the streams: entries of keys that have their share in hand.

One key with more entries than a process may hold would keep it from reading those of any other. So of each key only a
share is held. What comes behind that is read and pending, but nothing of it is kept except its id. It is read again, in
its order, as soon as the key has room.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

from adapters.redis.streams import partition_in

MOST: Final = 50_000
"""Entries that are left, some 250 bytes each. With so many, no stream that has some is read on."""


class EntryRef(NamedTuple):
    """Names an entry: its stream's key, and its id there."""

    key: str
    id: str


class LeftEntry(NamedTuple):
    """*history*: it was found pending."""

    subject: str
    ref: EntryRef
    history: bool


class Left:
    """The entries that one worker has left on its streams."""

    def __init__(self) -> None:
        self._by_key: dict[str, deque[EntryRef]] = {}
        self._history: dict[EntryRef, bool] = {}
        self.by_stream: Counter[str] = Counter()
        """How many there are of each stream."""

    def __len__(self) -> int:
        return len(self._history)

    def __contains__(self, ref: EntryRef) -> bool:
        return ref in self._history

    def has(self, subject: str) -> bool:
        """Whether an entry of this key is left: then all that come behind it are left, too."""
        return subject in self._by_key

    def add(self, entry: LeftEntry) -> None:
        """Leave *entry*, behind the others of its key."""
        self._by_key.setdefault(entry.subject, deque()).append(entry.ref)
        self._note(entry)

    def take(self, room_for: Callable[[str], int], most: int) -> list[LeftEntry]:
        """Take back as many entries of each key as it has room for, and *most* in all; those of a key in their
        order."""
        taken: list[LeftEntry] = []
        for subject in [subject for subject in self._by_key if room_for(subject)]:
            refs = self._by_key[subject]
            for _ in range(min(len(refs), room_for(subject), most - len(taken))):
                ref = refs.popleft()
                taken.append(LeftEntry(subject, ref, self._history.pop(ref)))
                self.by_stream[ref.key] -= 1
            if not refs:
                del self._by_key[subject]
        return taken

    def put_back(self, taken: Sequence[LeftEntry]) -> None:
        """*taken* cannot be read now: each goes to the front of its key again."""
        for entry in reversed(taken):
            self._by_key.setdefault(entry.subject, deque()).appendleft(entry.ref)
            self._note(entry)

    def _note(self, entry: LeftEntry) -> None:
        self._history[entry.ref] = entry.history
        self.by_stream[entry.ref.key] += 1

    def drop(self, partitions: Collection[int]) -> None:
        """Forget those of *partitions*."""
        if not any(partition_in(key) in partitions for key, count in self.by_stream.items() if count):
            return
        for subject, refs in list(self._by_key.items()):
            kept = deque(ref for ref in refs if partition_in(ref.key) not in partitions)
            for ref in set(refs).difference(kept):
                del self._history[ref]
                self.by_stream[ref.key] -= 1
            if kept:
                self._by_key[subject] = kept
            else:
                del self._by_key[subject]

    def clear(self) -> None:
        """Forget all."""
        self._by_key.clear()
        self._history.clear()
        self.by_stream.clear()
