"""Whether an update may go in one request, which sends content without messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

AGAIN_S: Final = 900.0
"""After so many seconds the short way is tried again: the service may take it by now."""

_ENOUGH: Final = 2

log = structlog.get_logger(__name__)


class ShortWay:
    """Closed for a while once the service has refused it twice, with no success in between."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refusals = 0
        self._closed_until = float("-inf")

    @property
    def open(self) -> bool:
        """Whether it is to be tried."""
        return self._clock() >= self._closed_until

    def taken(self) -> None:
        """The service has taken an update this way."""
        self._refusals = 0

    def refused(self) -> None:
        """The service refused the way, and not what was sent on it."""
        self._refusals += 1
        if self._refusals >= _ENOUGH:
            self._closed_until = self._clock() + AGAIN_S
            log.info("cgb.fields_one_by_one", for_s=AGAIN_S)
