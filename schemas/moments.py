"""Moments and days as senders write them: ISO 8601, or seconds or milliseconds since 1970."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

ZONES: Final[Mapping[str, ZoneInfo]] = {
    "il": ZoneInfo("Asia/Jerusalem"),
    "se": ZoneInfo("Europe/Stockholm"),
    "ru": ZoneInfo("Europe/Moscow"),
    "kz": ZoneInfo("Asia/Almaty"),
}
"""The zone of a branch's customers. The branch co sells all over the world, so it has none."""

_EPOCH: Final = re.compile(r"[0-9]{9,13}")
_FIRST_MS: Final = 10**11
"""From here on a number is of milliseconds (1973); as seconds it would be the year 5138."""

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")
_UTC_TIME: Final = re.compile(r"[Tt ][0-9:.,]+(?:[Zz]|[+-]00:?00)")


def moment(text: str | None) -> datetime | None:
    """The moment that *text* names, in UTC; None where it names none. Without a zone it is UTC, which is what Vizi
    writes. Nine to thirteen digits count from 1970."""
    if not text:
        return None
    if _EPOCH.fullmatch(text):
        return from_epoch(int(text))
    if text.isdigit() and len(text) != len("YYYYMMDD"):
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def from_epoch(value: object) -> datetime | None:
    """The moment of a number of seconds or milliseconds since 1970, told apart by their size; None for another value
    and for a number of fewer than nine or more than thirteen digits. A number may come as text."""
    if isinstance(value, bool) or not isinstance(value, int | str) or not _EPOCH.fullmatch(str(value).strip()):
        return None
    number = int(value)
    return datetime.fromtimestamp(number / 1000 if number >= _FIRST_MS else number, UTC)


def day(text: str | None, branch: str | None) -> date | None:
    """The day that *text* names for its writer; None where it names none.

    A browser that writes the local midnight of a day in UTC names the day before. So a moment in UTC is read in the
    zone of *branch*, where it has one. A plain day, and one with a local time, is taken as written.
    """
    if not text:
        return None
    found = _DAY.match(text)
    if found is None or _UTC_TIME.fullmatch(text, found.end()):
        at, zone = moment(text), ZONES.get(branch or "")
        if at is not None and (zone is not None or found is None):
            return at.astimezone(zone or UTC).date()
    try:
        return date.fromisoformat(found.group()) if found else None
    except ValueError:
        return None
