"""What this process has published a moment ago: it can be looked for on the server, and published again."""

from __future__ import annotations

import marshal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.envelope import Event, from_fields

KEPT_S: Final = 20.0
"""Longer than it takes to notice a loss, and for the journal to have what was published."""

KEPT_BYTES: Final = 32_000_000

COMPARED: Final = 5000
"""Entries to look for on the server: more than one that is killed can lose."""

_FLAT: Final = 2
"""The format's last version without references between values, whose bookkeeping takes longer than to copy."""


@dataclass(slots=True, eq=False)
class Batch:
    """Entries that are published together. *at*: monotonic seconds.

    *packed*: all of them as one piece. As events, what comes next would find no memory that the processor still has at
    hand, and the garbage collector would walk through all of them. *ids*: under which the server has them, as one piece
    too; empty while that is not known.
    """

    at: float
    packed: bytes
    ids: bytes = b""

    def events(self) -> Iterator[Event]:
        """In the order of their publication."""
        return map(_event, marshal.loads(self.packed))  # noqa: S302 - of this process


class Recent:
    """The stream entries of the last KEPT_S seconds before the newest one, at most KEPT_BYTES of them."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._bytes = 0
        self._since: float | None = None

    def hold(self) -> None:
        """Nothing ages from now on: what was lost can only be seen when the store is back, however long that takes."""
        if self._since is None:
            self._since = time.monotonic() - KEPT_S

    def release(self) -> None:
        """Age again."""
        self._since = None

    def _oldest(self, now: float) -> float:
        return now - KEPT_S if self._since is None else self._since

    def add(self, entries: list[list[str | bytes]]) -> Batch:
        """*entries*, fields and values by turns, are being published now."""
        batch = Batch(time.monotonic(), marshal.dumps(entries, _FLAT))
        self._batches.append(batch)
        self._bytes += len(batch.packed)
        while self._batches and (self._batches[0].at < self._oldest(batch.at) or self._bytes > KEPT_BYTES):
            self._bytes -= len(self._batches.popleft().packed)
        return batch

    def discard(self, batch: Batch) -> None:
        """*batch* was not published, as far as is known."""
        if batch in self._batches:
            self._batches.remove(batch)
            self._bytes -= len(batch.packed)

    def is_there(self, batch: Batch, ids: Sequence[bytes]) -> None:
        """The server has *batch*, under *ids*."""
        batch.ids = b" ".join(ids)

    def events(self) -> list[Event]:
        """Those of the last KEPT_S seconds, in the order of their publication."""
        since = self._oldest(time.monotonic())
        return [event for batch in self._batches if batch.at >= since for event in batch.events()]

    def there(self) -> list[tuple[Event, bytes]]:
        """The newest entries that the server has had, at most COMPARED of them, each with its id."""
        found: list[tuple[Event, bytes]] = []
        for batch in reversed(self._batches):
            if batch.ids and len(found) < COMPARED:
                found += zip(batch.events(), batch.ids.split(), strict=True)
        return found[:COMPARED]

    def forget_ids(self) -> None:
        """What was published so far is seen to: do not look for it any more."""
        for batch in self._batches:
            batch.ids = b""


def _event(entry: list[str | bytes]) -> Event:
    parts = [part if isinstance(part, bytes) else part.encode() for part in entry]
    return from_fields(dict(zip(parts[::2], parts[1::2], strict=True)))
