"""Why the operator's layer does not do what it was asked to: by what the asker can do about it."""

from __future__ import annotations

from schemas.errors import FerrymanError


class Unusable(FerrymanError):
    """What is asked for cannot be done as it is: the text says why, and what to do."""


class NotThere(FerrymanError):
    """What is asked about does not exist."""


class Conflict(FerrymanError):
    """It cannot be done as things stand now."""
