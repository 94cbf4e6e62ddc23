"""Points in time as the HTTP API takes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

FIRST: Final = 1900
LAST: Final = 9000
"""Years between which times are moved to another zone without an overflow."""


def bounded(at: datetime) -> datetime:
    """*at*. Raises: ValueError where its year is out of bounds."""
    if not FIRST <= at.year <= LAST:
        raise ValueError(f"the year must be from {FIRST} to {LAST}")
    return at


def _offset_as_meant(given: Any) -> Any:
    """A plus that was not encoded comes as a blank; the one before the time of day is as good as a T."""
    return f"{given[:-6]}+{given[-5:]}" if isinstance(given, str) and given[-6:-5] == " " and "T" in given else given


def _in_utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


Moment: TypeAlias = Annotated[AwareDatetime, AfterValidator(bounded)]
"""In a body: with its offset."""

QueryMoment: TypeAlias = Annotated[
    datetime, BeforeValidator(_offset_as_meant), AfterValidator(_in_utc), AfterValidator(bounded)
]
"""In a query: UTC where it has no offset."""
