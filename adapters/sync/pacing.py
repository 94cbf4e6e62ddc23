"""How long a replica waits before it tries again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from adapters.sync.exchange import Offline, Unauthorized, UpstreamError

FIRST_S: Final = 1.0
LONGEST_S: Final = 300.0
"""The pause after the first failure, and the longest one. Each is drawn anew up to its bound: a thousand replicas that
lost their server together do not come back together."""

Draw = Callable[[float, float], float]


def pause(failures: int, draw: Draw = random.uniform) -> float:
    """Seconds to wait after *failures* failures in a row, at least one."""
    bound = min(LONGEST_S, FIRST_S * 2.0 ** min(failures - 1, 30))
    return draw(0.0, bound)


class Pacing:
    """The failures of rounds since the last one that was complete."""

    def __init__(self, draw: Draw = random.uniform) -> None:
        self._draw = draw
        self._failures = 0

    def done(self) -> None:
        """A round was complete."""
        self._failures = 0

    def failed(self, error: UpstreamError | None) -> float:
        """A round was stopped by *error* (None: by something here). Returns the seconds until the next one."""
        self._failures += 1
        if isinstance(error, Offline) and error.retry_after_s is not None:
            # not all of those who were told the same at the same moment
            return error.retry_after_s + self._draw(0.0, min(error.retry_after_s / 4, 30.0) + FIRST_S)
        if isinstance(error, Unauthorized):
            return LONGEST_S / 2 + self._draw(0.0, LONGEST_S / 2)
        return pause(self._failures, self._draw)
