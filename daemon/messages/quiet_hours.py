"""Quiet hours: when a campaign disturbs nobody. Values in, values out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

OFF: Final = "off"
_FORM: Final = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])-((?:[01][0-9]|2[0-3]):[0-5][0-9])")
_FARTHEST: Final = timedelta(days=2)


class Quiet(NamedTuple):
    """From *start* to *end* o'clock, where the person is; over midnight where *end* is the earlier one."""

    start: time
    end: time

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


USUAL: Final = Quiet(time(21), time(9))
"""For what is no answer to a person's own business with us."""


def quiet_of(text: str) -> Quiet | None:
    """The hours that *text* means, as 21:00-09:00; None for `off`. Raises: ValueError."""
    if text.strip().lower() == OFF:
        return None
    found = _FORM.fullmatch(text.strip().replace("–", "-"))
    start, end = (time.fromisoformat(part) for part in found.groups()) if found else (None, None)
    if start is None or end is None or start == end:
        raise ValueError("write quiet hours as 21:00-09:00, or off")
    return Quiet(start, end)


def next_awake(at: datetime, quiet: Quiet, zones: Sequence[str]) -> datetime | None:
    """The first time from *at* on when it is quiet in none of *zones*, in UTC; None: there is none, as somewhere it is
    always quiet."""
    moment = at.astimezone(UTC)
    while moment - at <= _FARTHEST:
        ends = [end for zone in zones if (end := _end(moment, quiet, ZoneInfo(zone))) is not None]
        if not ends:
            return moment
        moment = max(ends)
    return None


def next_quiet(at: datetime, quiet: Quiet, zones: Sequence[str]) -> datetime:
    """When it will be quiet next in one of *zones*, in which it is not at *at*; in UTC."""
    return min(_next(at, quiet.start, ZoneInfo(zone)) for zone in zones)


def _end(moment: datetime, quiet: Quiet, zone: ZoneInfo) -> datetime | None:
    """When the quiet hours of *moment* end there; None: it is in none."""
    clock = moment.astimezone(zone).time()
    over_midnight = quiet.end < quiet.start
    within = clock >= quiet.start, clock < quiet.end
    return _next(moment, quiet.end, zone) if (any(within) if over_midnight else all(within)) else None


def _next(moment: datetime, clock: time, zone: ZoneInfo) -> datetime:
    """When it is *clock* there for the first time after *moment*. A time that the clocks leave out comes an hour later,
    and one that comes twice counts twice."""
    today = moment.astimezone(zone).date()
    days = [today + timedelta(days=n) for n in range(3)]
    times = [datetime.combine(day, clock, tzinfo=zone).replace(fold=fold) for day in days for fold in (0, 1)]
    return min(at for one in times if (at := one.astimezone(UTC)) > moment)
