"""Custom field values on their way to and from CGB."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from typing import Any

from schemas.contacts import FieldValue
from schemas.errors import Malformed


def live_value(value: FieldValue) -> str:
    """*value* as the live service takes it: always text; booleans 1 or 0, dates and times in unix seconds.

    A date without a time is its midnight in UTC; a time without a zone is taken as UTC. Field types as in the
    service's own Swagger page (2 date, 3 date-time: unix seconds; 4 boolean: 0 or 1). Raises: Malformed for NaN and
    infinities.
    """
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, datetime):
        return str(int(_aware(value).timestamp()))
    if isinstance(value, date):
        return str(int(datetime.combine(value, time(), UTC).timestamp()))
    if isinstance(value, float):
        return str(int(value)) if _finite(value).is_integer() else repr(value)
    return str(value)


def documented_value(value: FieldValue) -> str | int | float | bool:
    """*value* as the documented style takes it: native JSON types, dates and times in ISO 8601.

    Raises: Malformed for NaN and infinities.
    """
    if isinstance(value, datetime):
        return _aware(value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return _finite(value) if isinstance(value, float) else value


def text_of(value: Any) -> str | None:
    """A JSON value of the directory as text (booleans 1 or 0); None for null, arrays, objects and infinities."""
    if isinstance(value, (str, bool, int)):
        return live_value(value)
    if isinstance(value, float) and math.isfinite(value):
        return live_value(value)
    return None


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise Malformed("a custom field holds a number that is not finite")
    return value
