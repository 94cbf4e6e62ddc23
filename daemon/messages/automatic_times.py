"""When an automatic message is sent: at once, later, or relative to a time that the order names."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from daemon.messages.automatic_rules import Then
from schemas.moments import ZONES, day, moment
from schemas.phone import Phone
from schemas.phone_places import time_zone_of

NO_TIME: Final = "no time"
TOO_LATE: Final = "too late"

LATEST: Final = timedelta(days=1)
"""So much later than `after` says, a message is sent no more."""


class NoTime(Exception):
    """There is no time for the message, for this *reason*."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def zone_of(branch: str | None, phone: Phone) -> tzinfo:
    """The zone of a person: that of the branch, where it has one, else of the phone's numbering, else UTC."""
    if branch is not None and branch in ZONES:
        return ZONES[branch]
    name = time_zone_of(phone)
    try:
        return UTC if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):  # the host's zones may be older than the numbering's
        return UTC


def named_by(value: Any, branch: str | None) -> date | datetime | None:
    """The moment or the plain day that *value* of an order of this *branch* names; None where it names none."""
    if isinstance(value, str | int) and not isinstance(value, bool):
        text = str(value)
        return day(text, branch) if len(text) == len("2031-12-31") and not text.isdecimal() else moment(text)
    return value if isinstance(value, date) else None


def time_of(
    then: Then, named: date | datetime | None, arrived_at: datetime, zone: tzinfo, now: datetime
) -> datetime | None:
    """When the message is to be sent; None: now. *named*: what `of` names; of a plain day, `at` on that day counts.
    *arrived_at*: the event's time. *zone*: of the person. Raises: NoTime."""
    if then.of is None:
        return _future(arrived_at + then.delay, now) if then.delay else None
    try:
        if named is None:
            raise NoTime(NO_TIME)
        ahead = named if isinstance(named, datetime) else datetime.combine(named, then.at, zone).astimezone(UTC)
        at = ahead - then.before if then.before is not None else ahead + (then.after or timedelta())
        if now >= ahead if then.before is not None else now - at > LATEST:
            raise NoTime(TOO_LATE)
    except OverflowError:
        raise NoTime(NO_TIME) from None
    return _future(at, now)


def _future(at: datetime, now: datetime) -> datetime | None:
    return at if at > now else None
