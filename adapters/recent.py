"""What this process has published a moment ago: should Redis turn out to have lost it, it can be published again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Final

from schemas.envelope import Event

KEPT_S: Final = 20.0
"""Longer than it takes to notice a loss, and for the journal to have what was published."""

KEPT_BYTES: Final = 32_000_000


class Recent:
    """The events of the last KEPT_S seconds, at most KEPT_BYTES of payload."""

    def __init__(self) -> None:
        self._events: deque[tuple[float, Event]] = deque()
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

    def add(self, events: Iterable[Event]) -> None:
        """*events* are being published now."""
        now = time.monotonic()
        for event in events:
            self._events.append((now, event))
            self._bytes += len(event.data)
        while self._events and (self._events[0][0] < self._oldest(now) or self._bytes > KEPT_BYTES):
            self._bytes -= len(self._events.popleft()[1].data)

    def events(self) -> list[Event]:
        """In the order of their publication."""
        since = self._oldest(time.monotonic())
        return [event for at, event in self._events if at >= since]
