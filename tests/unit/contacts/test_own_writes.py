"""Our own writes are known again when the directory tells of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.contacts.own_writes import LATE, is_own, marks_of
from schemas.contacts import FieldValue

AT = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def written(*values: tuple[datetime, str]) -> list[str]:
    """The marks of a field's *values*, the newest first."""
    return [mark for at, value in reversed(values) for mark in marks_of({"Email": value}, ["Email"], at)]


@pytest.mark.parametrize(
    ("told", "at", "since", "own"),
    [
        ("b", AT + 10 * HOUR, None, True),
        ("a", AT + SECOND, None, True),
        ("a", AT + 2 * SECOND + LATE, None, False),
        ("c", AT + SECOND, None, False),
        ("b", AT + 10 * HOUR, AT + HOUR, False),
        ("a", AT + 3 * SECOND, AT + SECOND, False),
        ("b", AT + 3 * SECOND, AT + SECOND, True),
    ],
    ids=["last", "over just now", "over long ago", "never", "told of since", "told of", "written after it was told of"],
)
def test_what_counts_as_our_own(told: str, at: datetime, since: datetime | None, own: bool) -> None:
    marks = written((AT, "a"), (AT + 2 * SECOND, "b"))
    assert is_own(marks, "Email", told, at, since) is own
    assert is_own(marks, "customer_name", told, at, since) is False, "another field"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (True, "1"),
        (False, "0"),
        (2, "2"),
        (199.0, "199"),
        (199.5, "199.5"),
        (date(2031, 3, 1), "1930089600"),
        (AT, "1930132800"),
        (" Noa ", "Noa"),
    ],
)
def test_a_value_is_known_again_in_the_encoding_of_the_directory(value: FieldValue, told: str) -> None:
    assert is_own(marks_of({"f": value}, ["f"], AT), "f", told, AT + SECOND, None)


def test_a_mark_holds_no_value_and_only_the_fields_that_were_written() -> None:
    marks = marks_of({"Email": "noa@example.com", "visa_type": "eta"}, ["Email", "customer_name"], AT)
    assert len(marks) == 1
    assert "noa" not in marks[0]


@given(st.text(), st.text())
def test_any_text_is_known_again_and_no_other(one: str, other: str) -> None:
    marks = marks_of({"f": one}, ["f"], AT)
    assert is_own(marks, "f", one, AT, None)
    assert is_own(marks, "f", other, AT, None) is (one.strip() == other.strip())
