"""When a delivery is tried again, and how long a subscriber is left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.subscribers import Fortune
from adapters.postgres.webhook_deliveries import Due
from adapters.webhook_ports import Answer
from daemon.subscribers.retries import BREAKS_AT, LONGEST_PAUSE_S, OUTCOMES, WAITS_S, fared, judged, pause_of, wait_s

NOW: Final = datetime(2031, 2, 14, 12, tzinfo=UTC)
NONE: Final = Fortune(0, None, None, None)


def even() -> float:
    return 0.0


def due(attempts: int = 0) -> Due:
    return Due(1, "event", "key", "{}", attempts)


def test_ten_tries_take_about_seventy_six_hours() -> None:
    assert len(WAITS_S) + 1 == 10
    assert sum(WAITS_S) / 3600 == pytest.approx(75.6, abs=0.1)
    assert wait_s(10, even) is None


@given(st.integers(1, 9), st.floats(-1, 1))
def test_chance_makes_a_wait_ten_percent_longer_or_shorter_at_most(attempts: int, chance: float) -> None:
    wait = wait_s(attempts, lambda: chance)
    assert wait is not None
    assert 0.9 * WAITS_S[attempts - 1] <= wait <= 1.1 * WAITS_S[attempts - 1] + 1e-6


@pytest.mark.parametrize(
    ("attempts", "answer", "outcome", "state", "after_s", "counted"),
    [
        (0, Answer(status=204), "delivered", "delivered", 0, 1),
        (0, Answer(status=500, error="http-500"), "retried", "waiting", 5, 1),
        (0, Answer(status=302, error="http-302"), "retried", "waiting", 5, 1),
        (3, Answer(error="no-answer"), "retried", "waiting", 7200, 4),
        (0, Answer(status=429, error="http-429", retry_after_s=60), "retried", "waiting", 60, 1),
        (1, Answer(status=429, error="http-429", retry_after_s=60), "retried", "waiting", 300, 2),
        (9, Answer(status=500, error="http-500"), "failed", "failed", 0, 10),
        (0, Answer(status=400, error="http-400", aborts=True), "aborted", "failed", 0, 1),
        (2, Answer(status=410, error="http-410"), "gone", "waiting", 0, 3),
        (2, Answer(error="no-resolver", ours=True), "not_tried", "waiting", 10, 2),
    ],
)
def test_what_becomes_of_a_delivery(
    attempts: int, answer: Answer, outcome: str, state: str, after_s: float, counted: int
) -> None:
    verdict = judged(due(attempts), answer, NOW, even)
    tried = verdict.tried
    assert (verdict.outcome, tried.state, tried.attempts) == (outcome, state, counted)
    assert tried.next_at == NOW + timedelta(seconds=after_s)
    assert verdict.gone == (outcome == "gone")
    assert outcome in OUTCOMES


def test_a_success_ends_all_failures_and_a_fault_of_ours_is_none() -> None:
    failed = fared(NONE, Answer(status=500, error="http-500"), NOW, even)
    assert failed == Fortune(1, NOW, None, None)
    again = fared(failed, Answer(status=500, error="http-500"), NOW + timedelta(hours=1), even)
    assert (again.failures, again.failing_since) == (2, NOW)
    ours = fared(again, Answer(error="no-network", ours=True), NOW, even)
    assert (ours.failures, ours.not_before) == (2, NOW + timedelta(seconds=10))
    assert fared(ours, Answer(status=200), NOW, even) == Fortune(0, None, NOW, None)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_who_asks_for_less_is_left_alone(status: int) -> None:
    for asked, pause in ((None, 5.0), (120.0, 120.0)):
        answer = Answer(status=status, error=f"http-{status}", retry_after_s=asked)
        assert fared(NONE, answer, NOW, even).not_before == NOW + timedelta(seconds=pause)


def test_after_five_failures_pauses_grow_to_a_quarter_of_an_hour() -> None:
    before = Fortune(BREAKS_AT - 2, NOW, None, None)
    error = Answer(error="no-connection")
    assert fared(before, error, NOW, even).not_before is None
    assert fared(before._replace(failures=BREAKS_AT - 1), error, NOW, even).not_before == NOW + timedelta(seconds=5)
    pauses = [pause_of(n, even) for n in range(BREAKS_AT, BREAKS_AT + 1000)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[1], pauses[-1]) == (5, 10, LONGEST_PAUSE_S)
