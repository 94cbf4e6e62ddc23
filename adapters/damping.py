"""How often a breaker tells of its changes: a few times at once, then the state that it has come to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

MOST_LINES: Final = 4
LINES_WITHIN_S: Final = 60.0
"""At most so many lines are told in so many seconds."""


class Damping:
    """Counts the changes that were not told. *clock*: in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lines: deque[float] = deque(maxlen=MOST_LINES)
        self._untold = 0

    def may_tell(self) -> bool:
        """Whether the change just made gets its line now."""
        self._untold += 1
        return self._take_line()

    def late(self) -> int:
        """How many changes got no line and are to be told now, in one line; 0: there is nothing to tell now."""
        untold = self._untold
        return untold if untold and self._take_line() else 0

    def _take_line(self) -> bool:
        """Whether there may be a line now, which tells all changes so far."""
        now = self._clock()
        if len(self._lines) == MOST_LINES and now - self._lines[0] < LINES_WITHIN_S:
            return False
        self._lines.append(now)
        self._untold = 0
        return True
