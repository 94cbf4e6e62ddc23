"""Why the operator's layer does not do what it was asked to: by what the asker can do about it."""

from __future__ import annotations

from schemas.errors import FerrymanError


class Unusable(FerrymanError):
    """What is asked for cannot be done as it is: the text says why, and what to do."""


class NotThere(FerrymanError):
    """What is asked about does not exist."""


class Unanswered(FerrymanError):
    """An outside system has not done its part, and may do so later. *retry_after_s*: seconds to wait at least, where it
    was not asked at all; None: it was, and gave no usable answer."""

    def __init__(self, text: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class Conflict(FerrymanError):
    """It cannot be done as things stand now."""
