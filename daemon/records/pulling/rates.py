"""How often, and how many at once: what one token may ask of this process."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from schemas.errors import FerrymanError
from schemas.principals import Principal

ROUNDS_A_MINUTE: Final = 12_000
"""That one token may begin. A round begins with a pull that goes on with no other one: the pages of a long sync are one
round. Nobody needs so many; who loops without a pause gets as many."""

MOST_WAITERS: Final = 1000
"""Of one token, in one process."""

MOST_TOKENS: Final = 10_000
"""That are remembered; the one that asked least recently is forgotten."""

WAIT_S: Final = 5.0
"""When somebody with too many waiters should come again."""


class Busy(FerrymanError):
    """The token asks for too much at once; *retry_after_s*: when it may ask again."""

    def __init__(self, detail: str, retry_after_s: float) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Rates:
    """Counts by token. *clock*: seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: OrderedDict[object, tuple[float, float]] = OrderedDict()
        """Token -> rounds that it had left, and when."""
        self._waiters: Counter[object] = Counter()

    def begin_round(self, principal: Principal) -> None:
        """Count a round. Raises: Busy."""
        now, who = self._clock(), _who(principal)
        had, at = self._left.pop(who, (float(ROUNDS_A_MINUTE), now))
        left = min(float(ROUNDS_A_MINUTE), had + (now - at) * ROUNDS_A_MINUTE / 60)
        self._left[who] = (max(left - 1, 0.0) if left >= 1 else left, now)
        if len(self._left) > MOST_TOKENS:
            self._left.popitem(last=False)
        if left < 1:
            raise Busy(f"a token may begin {ROUNDS_A_MINUTE} rounds a minute: wait between two of them", 1.0)

    @contextmanager
    def waiting(self, principal: Principal) -> Iterator[None]:
        """Count somebody who waits, until the context ends. Raises: Busy."""
        who = _who(principal)
        if self._waiters[who] >= MOST_WAITERS:
            raise Busy(f"{MOST_WAITERS} requests of this token wait already: let one be enough for a device", WAIT_S)
        self._waiters[who] += 1
        try:
            yield
        finally:
            self._waiters[who] -= 1
            if not self._waiters[who]:
                del self._waiters[who]


def _who(principal: Principal) -> object:
    return principal.key if principal.token is None else principal.token
