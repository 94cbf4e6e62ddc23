"""When a change was made, by the server's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.records.deciding.clock import corrected, milliseconds

NOW = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)
HOUR, DAY, YEAR = timedelta(hours=1), timedelta(days=1), timedelta(days=365)


@pytest.mark.parametrize("off", [-YEAR, -DAY, -HOUR, timedelta(), HOUR, DAY, YEAR])
def test_a_clock_that_is_off_costs_nobody_an_edit(off: timedelta) -> None:
    """The replica's clock is off by as much when it sends as when the change was made."""
    made = NOW - 3 * HOUR
    assert corrected(made + off, NOW + off, NOW) == made


@pytest.mark.parametrize(
    ("ahead", "at"),
    [(-YEAR, NOW - YEAR), (-HOUR, NOW - HOUR), (HOUR, NOW), (25 * HOUR, NOW), (25 * HOUR + timedelta(seconds=1), None)],
)
def test_nobody_is_in_the_future(ahead: timedelta, at: datetime | None) -> None:
    assert corrected(NOW + ahead, None, NOW) == at
    assert corrected(NOW + ahead, NOW, NOW) == at


def test_a_change_without_a_time_was_made_now() -> None:
    assert corrected(None, NOW - DAY, NOW) == NOW


_TIMES = st.datetimes(timezones=st.just(UTC))


@given(_TIMES, st.none() | _TIMES)
def test_any_time_is_one_that_can_be_stored(changed_at: datetime, sent_at: datetime | None) -> None:
    at = corrected(changed_at, sent_at, NOW)
    assert at is None or (at <= NOW and milliseconds(at) >= 0)


def test_milliseconds_are_counted_without_rounding() -> None:
    assert milliseconds(datetime(2026, 11, 27, 10, 0, 0, 250_999, tzinfo=UTC)) == 1_795_773_600_250
