"""The bell of this process: it rings when records were written here, so that nobody in it need look for that."""

from __future__ import annotations

from collections.abc import Callable


class Bell:
    """Rings for all that hear it, in the order in which they began to. A caller hears it in the process alone."""

    def __init__(self) -> None:
        self._hearers: dict[object, Callable[[], None]] = {}

    def hear(self, call: Callable[[], None]) -> Callable[[], None]:
        """Have *call* called whenever it rings; it must return at once and raise nothing. Returns what ends that."""
        place = object()
        self._hearers[place] = call
        return lambda: self._hearers.pop(place, None) and None

    def ring(self) -> None:
        """Call all hearers."""
        for call in list(self._hearers.values()):
            call()
