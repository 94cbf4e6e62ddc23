"""How values are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.pages.rendering import ago, exact, filled, machine, span, zone_named
from daemon.pages.rendering import shown as shown_value

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-5, "0 s"), (59, "59 s"), (60, "1 min"), (3725, "1 h 2 min"), (3605, "1 h"), (277_200, "3 d 5 h")],
)
def test_a_span_has_its_two_largest_units_and_is_never_negative(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_time_is_told_from_now_and_exactly() -> None:
    assert ago(NOON - timedelta(minutes=5, seconds=3), NOON) == "5 min ago"
    assert ago(NOON + timedelta(hours=2), NOON) == "in 2 h"
    assert ago(NOON, NOON) == "now"
    assert exact(NOON, UTC) == "2026-07-01 12:00:00 UTC"
    assert exact(NOON, ZoneInfo("Asia/Jerusalem")) == "2026-07-01 15:00:00 Asia/Jerusalem (2026-07-01 12:00:00 UTC)"
    assert machine(NOON) == "2026-07-01T12:00:00Z"


@pytest.mark.parametrize("name", ["", "../x", "/etc/passwd", "x" * 100, "No/Where", "\x00", "America"])
def test_a_zone_that_is_none_is_utc(name: str) -> None:
    assert zone_named(name).key == "UTC"


@given(st.text(alphabet=st.characters(), max_size=50))
def test_nothing_that_is_shown_is_hidden_or_steers(text: str) -> None:
    steering = {0x061C, *range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000)}
    result = shown_value(text)
    assert len(result) == len(text)
    assert not any(ord(c) in steering or (ord(c) < 32 and c not in "\t\n\r") for c in result)


@given(st.text(max_size=20))
def test_a_value_is_one_part_of_an_address(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        return
    path = filled("/events/{id}", {"id": value})
    assert path.startswith("/events/")
    assert not set(path[len("/events/") :]) & set('/?#"<>\\')
