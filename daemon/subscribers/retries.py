"""When a delivery is tried again, and how long a subscriber that fails is left alone: plain functions.

A delivery is tried ten times in about 76 hours, as Standard Webhooks advises it, each wait 10 % longer or shorter by
chance. A subscriber whose last BREAKS_AT attempts have all failed is asked one delivery at a time, with pauses between
them that grow from 5 seconds to 15 minutes: thousands of events do not knock at a door that is shut.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeAlias

from adapters.postgres.subscribers import Fortune
from adapters.postgres.webhook_deliveries import Due, Tried
from adapters.webhook_ports import Answer

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0

WAITS_S: Final = (
    5.0,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
"""How long a delivery waits after its first failure, its second, and so on; after the last one it has failed."""

JITTER: Final = 0.1
BREAKS_AT: Final = 5
FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 15 * _MINUTE
OUR_FAULT_S: Final = 10.0
"""The pause after a fault of our own side, which costs a delivery no attempt."""

SLOW_DOWN: Final = frozenset({429, 502, 503, 504})
"""Statuses by which a receiver, or what stands before it, asks for less."""

GONE: Final = 410

Chance: TypeAlias = Callable[[], float]
"""A number from -1 to 1, by chance."""


class Verdict(NamedTuple):
    """What follows from an answer. *outcome*: for the metrics. *gone*: the subscriber wants nothing any more."""

    tried: Tried
    outcome: str
    gone: bool = False


OUTCOMES: Final = ("delivered", "retried", "failed", "aborted", "gone", "not_tried")


def wait_s(attempts: int, chance: Chance) -> float | None:
    """Seconds until the next try after so many *attempts*; None: there is none."""
    return None if attempts > len(WAITS_S) else WAITS_S[attempts - 1] * (1 + JITTER * chance())


def judged(due: Due, answer: Answer, now: datetime, chance: Chance) -> Verdict:
    """What becomes of *due* after *answer*."""

    def tried(state: str, attempts: int, next_at: datetime) -> Tried:
        error = "" if state == "delivered" else answer.error
        return Tried(due.id, due.key, state, attempts, next_at, answer.status, error, answer.body, answer.ms)

    attempts = due.attempts + 1
    if answer.delivered:
        return Verdict(tried("delivered", attempts, now), "delivered")
    if answer.ours:
        again = now + timedelta(seconds=OUR_FAULT_S * (1 + JITTER * chance()))
        return Verdict(tried("waiting", due.attempts, again), "not_tried")
    if answer.status == GONE:
        return Verdict(tried("waiting", attempts, now), "gone", gone=True)
    if answer.aborts:
        return Verdict(tried("failed", attempts, now), "aborted")
    if (wait := wait_s(attempts, chance)) is None:
        return Verdict(tried("failed", attempts, now), "failed")
    return Verdict(
        tried("waiting", attempts, now + timedelta(seconds=max(wait, answer.retry_after_s or 0.0))), "retried"
    )


def fared(before: Fortune, answer: Answer, now: datetime, chance: Chance) -> Fortune:
    """How a subscriber fares after one more *answer*."""
    if answer.delivered:
        return Fortune(0, None, now, None)
    if answer.ours:
        return before._replace(not_before=now + timedelta(seconds=OUR_FAULT_S * (1 + JITTER * chance())))
    failures, pause_s = before.failures + 1, 0.0
    if failures >= BREAKS_AT:
        pause_s = pause_of(failures, chance)
    if answer.status in SLOW_DOWN or answer.retry_after_s is not None:
        pause_s = max(pause_s, FIRST_PAUSE_S if answer.retry_after_s is None else answer.retry_after_s)
    not_before = now + timedelta(seconds=pause_s) if pause_s else before.not_before
    return Fortune(failures, before.failing_since or now, before.last_success_at, not_before)


def pause_of(failures: int, chance: Chance) -> float:
    """Seconds for which a subscriber is left alone after so many *failures* in a row, BREAKS_AT or more."""
    doublings = min(failures - BREAKS_AT, 16)
    return min(math.ldexp(FIRST_PAUSE_S, doublings), LONGEST_PAUSE_S) * (1 + JITTER * chance())
