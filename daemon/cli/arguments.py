"""What an operator types, checked where it is typed: words, numbers, times. What is wrong is a usage error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import typer

MOST_NUMBER: Final = 2**63 - 1
"""The largest number that a letter can have."""

_LONGEST: Final = 4096
_AGO: Final = re.compile(r"([0-9]{1,6}) ?(s|min|m|h|d|w)(?: ago)?")
_UNITS: Final = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAYS_BACK: Final = {"today": 0, "yesterday": 1}


def parse_words(text: str) -> str:
    """*text* as it can be asked of a database. Raises: typer.BadParameter."""
    if not text.strip():
        raise typer.BadParameter("it is empty")
    if "\x00" in text or len(text) > _LONGEST:
        raise typer.BadParameter(f"it has at most {_LONGEST} characters and no U+0000")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise typer.BadParameter("it is not UTF-8") from exc
    return text


def parse_time(text: str) -> datetime:
    """A point in time, in UTC. A time without an offset is UTC. Raises: typer.BadParameter."""
    return time_meant(text, datetime.now(UTC))


def time_meant(text: str, now: datetime) -> datetime:
    """As `parse_time`, when it is *now*."""
    wanted = " ".join(text.lower().split())
    try:
        if wanted == "now":
            return now
        if wanted in _DAYS_BACK:
            return now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=_DAYS_BACK[wanted])
        if ago := _AGO.fullmatch(wanted):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        at = datetime.fromisoformat(wanted.upper())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise typer.BadParameter(
            "write it as 2026-11-27, 2026-11-27T04:00 (UTC), 2026-11-27T04:00+02:00, 1h, 30m, 2d, today or yesterday"
        ) from exc


def parse_time_ahead(text: str) -> datetime:
    """A point in time that is still to come, in UTC. Raises: typer.BadParameter."""
    return time_ahead(text, datetime.now(UTC))


def time_ahead(text: str, now: datetime) -> datetime:
    """As `parse_time_ahead`, when it is *now*. A length of time counts from now on: "2h" is in two hours."""
    wanted = " ".join(text.lower().split())
    try:
        length = _AGO.fullmatch(wanted.removeprefix("in "))
        ahead = length is not None and not wanted.endswith("ago")
        at = now + timedelta(**{_UNITS[length[2]]: int(length[1])}) if length and ahead else time_meant(wanted, now)
    except (typer.BadParameter, OverflowError):
        raise typer.BadParameter(
            "write it as 2026-11-27, 2026-11-27T04:00 (UTC), 2026-11-27T04:00+02:00, 30m, 2h or 3d (from now)"
        ) from None
    if at < now:
        raise typer.BadParameter("that time has passed: leave the option out, or give a later time")
    return at


def require_known(option: str, value: str | None, names: Sequence[str]) -> None:
    """Raises: typer.BadParameter when *value* is given and none of *names*."""
    if value is not None and value not in names:
        raise typer.BadParameter(f"it is none of {', '.join(names)}", param_hint=option)
