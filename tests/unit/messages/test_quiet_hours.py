"""Quiet hours, as tables and against a clock that is looked at every minute."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from daemon.messages.quiet_hours import USUAL, Quiet, next_awake, next_quiet, quiet_of

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
ZONES = ("Asia/Jerusalem", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Europe/London")

times = st.times(time(0), time(23, 59)).map(lambda one: one.replace(second=0, microsecond=0))
quiets = st.tuples(times, times).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: Quiet(*pair))
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


def is_quiet(at: datetime, quiet: Quiet, zone: str) -> bool:
    """By the definition."""
    clock = at.astimezone(ZoneInfo(zone)).time()
    length = (minutes(quiet.end) - minutes(quiet.start)) % (24 * 60)
    return (minutes(clock) - minutes(quiet.start)) % (24 * 60) < length


def minutes(clock: time) -> int:
    return clock.hour * 60 + clock.minute


@pytest.mark.parametrize(
    ("text", "quiet"),
    [
        ("21:00-09:00", USUAL),
        (" 21:00–09:00 ", USUAL),
        ("13:30-15:00", Quiet(time(13, 30), time(15))),
        ("off", None),
        ("OFF", None),
    ],
)
def test_what_people_write_is_read(text: str, quiet: Quiet | None) -> None:
    assert quiet_of(text) == quiet


@pytest.mark.parametrize("text", ["", "21-9", "21:00", "24:00-09:00", "21:00-21:00", "9:00-10:00", "21:00-09:00 UTC"])
def test_what_is_no_pair_of_times_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write quiet hours"):
        quiet_of(text)


@pytest.mark.parametrize(
    ("at", "zones", "awake"),
    [
        ("2026-11-28T12:00", ["Asia/Jerusalem"], "2026-11-28T12:00"),
        ("2026-11-28T19:00", ["Asia/Jerusalem"], "2026-11-29T07:00"),  # 21:00 there: the first quiet minute
        ("2026-11-28T18:59", ["Asia/Jerusalem"], "2026-11-28T18:59"),
        ("2026-11-28T02:00", ["Asia/Jerusalem"], "2026-11-28T07:00"),
        ("2026-11-28T12:00", ["America/New_York"], "2026-11-28T14:00"),
        ("2026-11-28T12:00", ["Asia/Jerusalem", "America/New_York"], "2026-11-28T14:00"),
        ("2026-03-28T23:00", ["Europe/Stockholm"], "2026-03-29T07:00"),  # the clocks go forward in that night
        ("2026-10-24T23:00", ["Europe/Stockholm"], "2026-10-25T08:00"),  # and back
    ],
)
def test_when_the_quiet_hours_are_over(at: str, zones: list[str], awake: str) -> None:
    assert next_awake(_utc(at), USUAL, zones) == _utc(awake)


def test_where_it_is_quiet_somewhere_at_any_time_there_is_no_such_time() -> None:
    around = ["Pacific/Auckland", "Asia/Kolkata", "Europe/London", "America/Los_Angeles"]
    assert next_awake(_utc("2026-11-28T12:00"), USUAL, around) is None


@given(moments, quiets, st.sampled_from(ZONES), st.sampled_from(ZONES))
def test_nobody_is_disturbed_and_nobody_waits_longer_than_need_be(
    at: datetime, quiet: Quiet, one: str, other: str
) -> None:
    awake = next_awake(at, quiet, [one, other])
    assume(awake is not None)
    assert awake is not None
    assert not is_quiet(awake, quiet, one)
    assert not is_quiet(awake, quiet, other)
    looks = (at + n * MINUTE for n in range(2 * 24 * 60 + 120))
    first = next(m for m in looks if not is_quiet(m, quiet, one) and not is_quiet(m, quiet, other))
    assert at <= awake <= first + timedelta(hours=1), "an hour at most, where the clocks leave out the end"


@given(moments, quiets, st.sampled_from(ZONES))
def test_until_it_is_quiet_again_nobody_is_disturbed(at: datetime, quiet: Quiet, zone: str) -> None:
    awake = next_awake(at, quiet, [zone])
    assert awake is not None
    until = next_quiet(awake, quiet, [zone])
    assert awake < until <= awake + DAY + timedelta(hours=1)
    step = (until - awake) / 50
    assert not any(is_quiet(awake + n * step, quiet, zone) for n in range(50))


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
