"""The time of an operation by this server's clock, whatever the clock of its replica says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

FURTHEST_AHEAD: Final = timedelta(hours=25)
"""A clock that is a day and a time zone off is a mistake that shifting mends. Beyond it `changed_at` is no time."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def corrected(changed_at: datetime | None, sent_at: datetime | None, now: datetime) -> datetime | None:
    """When a change was made, by our clock, which says *now*. *sent_at*: what the replica's clock said when it sent the
    change: the difference is how much it is off. Never later than *now*: who is ahead wins nothing. None: it is so far
    ahead that it must be stamped anew."""
    if changed_at is None:
        return now
    try:
        shifted = changed_at if sent_at is None else changed_at + (now - sent_at)
    except OverflowError:
        return None if sent_at is not None and changed_at > sent_at else _EPOCH
    if shifted > now:
        return now if shifted - now <= FURTHEST_AHEAD else None
    return max(shifted, _EPOCH)


def milliseconds(moment: datetime) -> int:
    """Since 1970, as stamps have them."""
    return (moment - _EPOCH) // _MILLISECOND
