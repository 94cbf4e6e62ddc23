"""What happens to an event after its handler ended, as a table, and its laws."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.gate import NoPlace
from adapters.redis.limits import Ticket
from daemon.bus.outcome import Done, Later
from daemon.bus.settle import (
    BACKOFF_CAP_S,
    BACKOFF_S,
    LIMITED_S,
    OUTAGE_CAP_S,
    RETRY_AFTER_CAP_S,
    Finish,
    Park,
    Retry,
    StandInLine,
    Unexpected,
    Verdict,
    Wait,
    Yield,
    backoff,
    decide,
)
from schemas.errors import (
    ChannelClosed,
    ChannelDown,
    FerrymanError,
    LeaseLost,
    Malformed,
    Permanent,
    Refused,
    StoreAway,
    Transient,
    Uncertain,
)
from tests.support.fake_loop import FakeLoop
from tests.support.toy import NOON, make_event

LIMIT: Final = 3
FRESH: Final = {"attempts": 0, "failures": 0}
LAST: Final = {"attempts": LIMIT - 1, "failures": 40}
BEYOND: Final = {"attempts": LIMIT + 5, "failures": 10**9}
EVENT: Final = make_event("key-1")

failing = st.sampled_from(
    [Transient("away"), Transient("away", retry_after_s=7.0), Uncertain("no answer"), FerrymanError("odd")]
)
counters = st.integers(min_value=0, max_value=10**9)


def verdict(
    result: Any, *, answers: bool = True, on_uncertain: Literal["retry", "hold"] = "retry", **given: int
) -> Verdict:
    numbers = {"attempts": 0, "failures": 0, "limit": LIMIT} | given
    return decide(result, channel_answers=answers, on_uncertain=on_uncertain, rng=random.Random(7), **numbers)


def told(made: Verdict) -> tuple[object, ...]:
    match made:
        case Finish():
            return (made.outcome, made.reason)
        case Wait():
            return ("wait", made.step)
        case Retry():
            return ("retry", "counted" if made.counted else "free")
        case Park():
            return ("park", made.channel)
        case StandInLine():
            return ("in line", made.ticket.number)
        case Yield():
            return ("yield",)


ALWAYS: Final[dict[str, tuple[Any, tuple[object, ...]]]] = {
    "done": (Done(), ("done", None)),
    "skipped": (Done(skipped="no phone"), ("skipped", "no phone")),
    "later": (Later(NOON, step="again"), ("wait", "again")),
    "channel closed": (ChannelClosed("paused", channel="test"), ("park", "test")),
    "channel down": (ChannelDown("token", channel="test"), ("park", "test")),
    "no place": (NoPlace(Ticket(3, asyncio.Future(loop=FakeLoop()))), ("in line", 3)),
    "lease lost": (LeaseLost("run out"), ("yield",)),
    "a store away": (StoreAway("away"), ("retry", "free")),
    "permanent": (Permanent("no"), ("dead", "Permanent")),
    "malformed": (Malformed("no"), ("dead", "Malformed")),
    "refused": (Refused("no"), ("dead", "Refused")),
    "limited": (Transient("429", limited=True), ("retry", "free")),
    "limited, with a time": (Transient("429", limited=True, retry_after_s=9.0), ("retry", "free")),
}


@pytest.mark.parametrize("kind", ALWAYS)
@pytest.mark.parametrize("numbers", [FRESH, LAST, BEYOND], ids=["fresh", "last", "beyond"])
@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("on_uncertain", ["retry", "hold"])
def test_some_ends_depend_on_no_counter(
    kind: str, numbers: dict[str, int], answers: bool, on_uncertain: Literal["retry", "hold"]
) -> None:
    result, expected = ALWAYS[kind]
    assert told(verdict(result, answers=answers, on_uncertain=on_uncertain, **numbers)) == expected


# the error, does the provider answer, its counters, on_uncertain, the verdict
TABLE: Final[list[tuple[FerrymanError, bool, dict[str, int], Literal["retry", "hold"], tuple[object, ...]]]] = [
    (Transient("away"), True, FRESH, "hold", ("retry", "counted")),
    (Transient("away"), True, {"attempts": LIMIT - 2, "failures": 9}, "hold", ("retry", "counted")),
    (Transient("away"), True, LAST, "hold", ("dead", "Transient")),
    (Transient("away"), True, BEYOND, "hold", ("dead", "Transient")),
    (Transient("away"), False, FRESH, "hold", ("retry", "free")),
    (Transient("away"), False, LAST, "hold", ("retry", "free")),
    (Transient("away"), False, BEYOND, "hold", ("retry", "free")),
    (Uncertain("open"), True, FRESH, "retry", ("retry", "counted")),
    (Uncertain("open"), True, LAST, "retry", ("dead", "Uncertain")),
    (Uncertain("open"), False, LAST, "retry", ("retry", "free")),
    (Uncertain("open"), True, FRESH, "hold", ("uncertain", "open")),
    (Uncertain("open"), True, LAST, "hold", ("uncertain", "open")),
    (Uncertain("open"), False, BEYOND, "hold", ("uncertain", "open")),
    (Unexpected("fault"), True, FRESH, "hold", ("retry", "counted")),
    (Unexpected("fault"), False, FRESH, "hold", ("retry", "counted")),
    (Unexpected("fault"), True, LAST, "hold", ("dead", "Unexpected")),
    (Unexpected("fault"), False, LAST, "hold", ("dead", "Unexpected")),
]


@pytest.mark.parametrize(("error", "answers", "numbers", "on_uncertain", "expected"), TABLE)
def test_a_failure_is_counted_against_the_limit_unless_the_provider_is_away(
    error: FerrymanError,
    answers: bool,
    numbers: dict[str, int],
    on_uncertain: Literal["retry", "hold"],
    expected: tuple[object, ...],
) -> None:
    made = verdict(error, answers=answers, on_uncertain=on_uncertain, **numbers)
    assert told(made) == expected
    if isinstance(made, Finish | Retry):
        assert made.error is error


def test_what_the_handler_returned_goes_with_the_verdict() -> None:
    rows, emitted = ("a row",), (EVENT,)
    assert verdict(Done(rows, emitted)) == Finish("done", None, rows, emitted)
    assert verdict(Done(rows, emitted, "no phone")) == Finish("skipped", "no phone", rows, emitted)
    assert verdict(Later(NOON, rows, "step", {"memo": 1})) == Wait(NOON, rows, "step", {"memo": 1})


@given(counters, counters, st.integers(1, 100), failing)
def test_an_outage_of_any_length_buries_nothing(attempts: int, failures: int, limit: int, error: FerrymanError) -> None:
    made = verdict(error, answers=False, attempts=attempts, failures=failures, limit=limit)
    assert isinstance(made, Retry)
    assert not made.counted


@given(counters, counters, st.integers(1, 100), st.none() | st.floats(0, 1e9), st.booleans())
def test_a_rate_refusal_never_costs_an_attempt_and_its_wait_is_obeyed_up_to_an_hour(
    attempts: int, failures: int, limit: int, asked: float | None, answers: bool
) -> None:
    error = Transient("429", limited=True, retry_after_s=asked)
    made = verdict(error, answers=answers, attempts=attempts, failures=failures, limit=limit)
    assert isinstance(made, Retry)
    assert not made.counted
    assert made.limited
    assert min(LIMITED_S if asked is None else asked, RETRY_AFTER_CAP_S) <= made.delay_s <= RETRY_AFTER_CAP_S + 0.5


@given(counters, counters, st.integers(1, 100), st.booleans(), st.sampled_from([Permanent, Malformed, Refused]))
def test_what_will_always_fail_is_buried_at_once(
    attempts: int, failures: int, limit: int, answers: bool, kind: type[Permanent]
) -> None:
    made = verdict(kind("no"), answers=answers, attempts=attempts, failures=failures, limit=limit)
    assert told(made) == ("dead", kind.__name__)


@given(counters, st.integers(1, 10**9), st.booleans())
def test_a_fault_of_the_program_always_counts(attempts: int, limit: int, answers: bool) -> None:
    made = verdict(Unexpected("fault"), answers=answers, attempts=attempts, limit=limit)
    assert told(made) == (("dead", "Unexpected") if attempts + 1 >= limit else ("retry", "counted"))


@given(st.integers(1, 50), failing)
def test_the_handler_is_called_exactly_as_often_as_the_limit_says(limit: int, error: FerrymanError) -> None:
    attempts = 0
    while isinstance(made := verdict(error, attempts=attempts, failures=attempts, limit=limit), Retry):
        attempts += made.counted
    assert attempts + 1 == limit


@given(st.integers(1, 10**9), st.randoms(use_true_random=False), st.floats(0, 1e6), st.floats(0, 1e6))
def test_the_backoff_stays_between_zero_and_its_cap(
    failures: int, rng: random.Random, base_s: float, cap_s: float
) -> None:
    assert 0 <= backoff(failures, rng, base_s=base_s, cap_s=cap_s) <= cap_s


@given(st.integers(1, 12), st.integers(0, 2**32))
def test_the_backoff_doubles_what_it_may_take(failures: int, seed: int) -> None:
    most = min(BACKOFF_CAP_S, BACKOFF_S * 2 ** (failures - 1))
    delays = [backoff(failures, random.Random(seed + i)) for i in range(40)]
    assert max(delays) <= most
    assert max(delays) > most / 2  # the jitter is full: 40 draws all in the lower half happen once in 10^12
    assert min(delays) < most / 2


@given(counters, st.booleans(), st.none() | st.floats(-1e9, 1e9), st.booleans())
def test_no_delay_is_negative_or_longer_than_what_was_asked_or_the_cap(
    failures: int, answers: bool, asked: float | None, limited: bool
) -> None:
    error = Transient("away", retry_after_s=asked, limited=limited)
    made = verdict(error, answers=answers, failures=failures, limit=10**10)
    assert isinstance(made, Retry)
    bounded = min(max(asked or 0.0, 0.0), RETRY_AFTER_CAP_S)
    cap = LIMITED_S if limited else BACKOFF_CAP_S if answers else OUTAGE_CAP_S
    assert 0 <= made.delay_s <= max(cap, bounded) + 0.5
    assert made.delay_s >= bounded
