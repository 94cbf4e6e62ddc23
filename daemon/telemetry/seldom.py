"""Telling of a fault that goes on now and then, instead of at each try."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

TELL_EVERY_S: Final = 60.0
"""A fault that goes on has a line in the log once in so many seconds."""


class Seldom:
    """Says when a fault that is met again and again is to be told."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_at = -math.inf

    def due(self) -> bool:
        """Whether to tell now; then TELL_EVERY_S pass before it is due again."""
        now = self._clock()
        if now - self._told_at < TELL_EVERY_S:
            return False
        self._told_at = now
        return True
