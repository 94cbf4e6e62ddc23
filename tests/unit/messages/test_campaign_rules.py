"""What a campaign does next, as tables."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.campaign_feed import Due, Going, Verdict
from daemon.messages.campaign_rules import FEW, MOST, stride, template_fault, under_way, when
from daemon.messages.campaigns import NO_SLOT, decide
from daemon.messages.quiet_hours import USUAL
from daemon.messages.rules import OPTED_OUT

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
GONE = Verdict("failed", "meta-132001")


def going(**given: Any) -> Going:
    told: dict[str, Any] = {
        "id": UUID(int=1),
        "provider": "meta",
        "account": "default",
        "template": "news",
        "language": "he",
        "category": "marketing",
        "rate": 10.0,
        "quiet_from": USUAL.start,
        "quiet_to": USUAL.end,
        "ends_at": None,
        "going_since": NOW - HOUR,
        "since": NOW,
        "now": NOW,
    }
    return Going(**told | given)


def due(line: int, phone: str = "+972505550142", *, opted_out: bool = False, feeds: int = 0) -> Due:
    return Due(line, phone, {"1": "Noa"}, feeds, opted_out)


@pytest.mark.parametrize(
    ("newest", "code"),
    [
        ([GONE] * FEW, "132001"),
        ([GONE] * 3 + [Verdict("failed", "132001")] * 2, "132001"),  # an answer's and a status's code
        ([GONE] * FEW + [Verdict("read", None)], "132001"),
        ([Verdict("failed", "twilio-63040")] * FEW, "63040"),
        ([Verdict("failed", "no-template")] * FEW, "no-template"),
        ([GONE] * (FEW - 1), None),
        ([GONE] * (FEW - 1) + [Verdict("sent", None)], None),
        ([GONE] * (FEW - 1) + [Verdict("failed", "meta-132000")], None),
        ([Verdict("failed", "meta-131026")] * FEW, None),  # the fault of five people
        ([Verdict("failed", None)] * FEW, None),
        ([], None),
    ],
)
def test_a_template_that_is_refused_to_all_is_told_from_people_who_cannot_be_reached(
    newest: list[Verdict], code: str | None
) -> None:
    assert template_fault(newest) == code


@given(st.floats(0.01, 500), st.lists(st.floats(0, 3), min_size=1, max_size=60))
def test_the_rate_is_kept_however_the_rounds_come(rate: float, gaps: list[float]) -> None:
    now, next_at, taken = NOW, NOW, 0
    for gap in gaps:
        now += gap * SECOND
        found = stride(max(next_at, now - SECOND), now, rate)
        taken += found.places
        next_at = found.after(found.places, rate)
    elapsed = (now - NOW).total_seconds()
    assert taken <= elapsed * rate + 1 + 1e-3 * len(gaps) * rate


def test_no_place_of_the_rate_is_taken_before_its_time() -> None:
    assert stride(NOW + SECOND, NOW, 100).places == 0
    assert stride(NOW, NOW, 0.1).places == 1
    assert stride(NOW - SECOND, NOW, 20).places == 21


@pytest.mark.parametrize(("rate", "most"), [(0.01, 10), (2, 10), (20, 100), (500, MOST)])
def test_few_messages_are_under_way_at_a_time(rate: float, most: int) -> None:
    assert under_way(rate) == most


def test_a_person_of_several_zones_is_awake_in_all_of_them() -> None:
    zones = ("Asia/Jerusalem", "America/New_York")
    assert when(NOW, USUAL, zones, "UTC").at == NOW + 2 * HOUR
    assert when(NOW, USUAL, (), "America/New_York").at == NOW + 2 * HOUR
    everywhere = ("Pacific/Auckland", "Asia/Kolkata", "Europe/London", "America/Los_Angeles")
    assert when(NOW, USUAL, everywhere, "UTC").at == NOW, "where that never is, the zone of the settings counts"
    assert when(NOW, None, zones, "UTC") == (NOW, None)


def test_who_has_opted_out_is_skipped_and_takes_no_place() -> None:
    found = decide(going(), [due(1, opted_out=True), due(2), due(3)], 1, "UTC")
    assert [(one.line, one.error) for one in found.skipped] == [(1, OPTED_OUT)]
    assert [one.line for one in found.fed] == [2]
    assert found.requests[0].category == "marketing"


def test_in_quiet_hours_a_person_waits_until_they_are_over() -> None:
    found = decide(going(now=NOW + 8 * HOUR), [due(1)], 5, "UTC")  # 22:00 in Israel
    assert [(one.line, one.not_before) for one in found.waiting] == [(1, NOW + 19 * HOUR)]
    assert not found.fed


def test_who_is_awake_is_not_held_up_by_those_who_are_not() -> None:
    asleep = [due(n, "+12125550123") for n in range(1, 9)]
    found = decide(going(), [*asleep, due(9)], 1, "UTC")
    assert [one.line for one in found.fed] == [9]
    assert found.fed[0].not_after == NOW + 7 * HOUR


@pytest.mark.parametrize(("ends_in_h", "skipped"), [(19, True), (20, False)])
def test_quiet_hours_without_a_later_time_are_the_end(ends_in_h: int, skipped: bool) -> None:
    night = NOW + 8 * HOUR
    found = decide(going(now=night, ends_at=NOW + ends_in_h * HOUR), [due(1)], 5, "UTC")
    assert [one.error for one in found.skipped] == ([NO_SLOT] if skipped else [])
    assert "quiet hours" in NO_SLOT


def test_a_message_is_the_person_s_alone_and_its_event_each_time_another() -> None:
    once, again = (decide(going(), [due(1, feeds=n)], 5, "UTC").requests[0] for n in (0, 1))
    assert once.id == again.id
    assert once.event_id != again.event_id
    others = [decide(going(id=UUID(int=n)), [due(line)], 5, "UTC").requests[0].id for n in (1, 2) for line in (1, 2)]
    assert max(Counter(others).values()) == 1


def test_a_message_that_is_queued_is_taken_back_when_the_campaign_ends() -> None:
    soon = NOW + HOUR
    assert decide(going(ends_at=soon), [due(1)], 5, "UTC").fed[0].not_after == soon
    assert decide(going(ends_at=soon, quiet_from=None), [due(1)], 5, "UTC").fed[0].not_after == soon


def test_without_quiet_hours_nobody_waits() -> None:
    found = decide(going(quiet_from=None, quiet_to=None, now=NOW + 8 * HOUR), [due(1)], 5, "UTC")
    assert [(one.line, one.not_after) for one in found.fed] == [(1, None)]
    assert time(21) == USUAL.start
