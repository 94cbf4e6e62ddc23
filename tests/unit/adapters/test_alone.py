"""Whose calls have failed since the last answer: one customer's alone, or several'."""

from __future__ import annotations

from adapters.alone import LONE_FAILURES, Alone


def test_failures_of_one_customer_in_a_row_are_worth_a_look_from_the_last_of_them_on() -> None:
    alone = Alone()
    seen = [alone.failed("a") for _ in range(LONE_FAILURES + 2)]
    assert seen == [False] * (LONE_FAILURES - 1) + [True] * 3


def test_another_customer_s_failure_makes_it_an_outage_until_there_is_an_answer() -> None:
    for other in ("b", None):
        alone = Alone()
        for about in ("a", other, *["a"] * LONE_FAILURES):
            assert not alone.failed(about)
        alone.answered()
        seen = [alone.failed("a") for _ in range(LONE_FAILURES)]
        assert seen[-1]


def test_the_account_s_own_failures_are_an_outage() -> None:
    alone = Alone()
    assert not any(alone.failed(None) for _ in range(LONE_FAILURES + 1))
