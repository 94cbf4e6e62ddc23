"""Whose calls have failed: those of one customer alone, or those of several.

On a quiet system the failures of one event look like an outage, as no other call tells the difference.
"""

from __future__ import annotations

from typing import Final

LONE_FAILURES: Final = 5
"""So many failures in a row of one customer alone make it worth a look whether the system serves others."""


class Alone:
    """The failures since the system last answered."""

    def __init__(self) -> None:
        self._about: str | None = None
        self._failures = 0
        self._of_several = False

    def failed(self, about: str | None) -> bool:
        """Note a failed call about that customer (None: about the account); whether now a look is worth it."""
        if about is None or self._about not in (None, about):
            self._of_several = True
        self._about = about
        self._failures += 1
        return not self._of_several and self._failures >= LONE_FAILURES

    def answered(self) -> None:
        """The system has answered a call."""
        self._about = None
        self._failures = 0
        self._of_several = False
