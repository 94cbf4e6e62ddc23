"""What this process has published a moment ago: should Redis turn out to have lost it, it can be published again."""

from __future__ import annotations

import marshal
import time
from collections import deque
from typing import Final

from schemas.envelope import Event, from_fields

KEPT_S: Final = 20.0
"""Longer than it takes to notice a loss, and for the journal to have what was published."""

KEPT_BYTES: Final = 32_000_000

_FLAT: Final = 2
"""The format's last version without references between values, whose bookkeeping takes longer than to copy."""


class Recent:
    """The stream entries of the last KEPT_S seconds, at most KEPT_BYTES of them.

    Each batch is kept as one piece. As events, what comes next would find no memory that the processor still has at
    hand, and the garbage collector would walk through all of them.
    """

    def __init__(self) -> None:
        self._batches: deque[tuple[float, bytes]] = deque()
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

    def add(self, entries: list[list[str | bytes]]) -> None:
        """*entries*, fields and values by turns, are being published now."""
        now = time.monotonic()
        batch = marshal.dumps(entries, _FLAT)
        self._batches.append((now, batch))
        self._bytes += len(batch)
        while self._batches and (self._batches[0][0] < self._oldest(now) or self._bytes > KEPT_BYTES):
            self._bytes -= len(self._batches.popleft()[1])

    def events(self) -> list[Event]:
        """In the order of their publication."""
        since = self._oldest(time.monotonic())
        held = (marshal.loads(batch) for at, batch in self._batches if at >= since)  # noqa: S302 - of this process
        return [_event(entry) for entries in held for entry in entries]


def _event(entry: list[str | bytes]) -> Event:
    parts = [part if isinstance(part, bytes) else part.encode() for part in entry]
    return from_fields(dict(zip(parts[::2], parts[1::2], strict=True)))
