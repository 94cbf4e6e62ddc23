"""What the contact sync counts of its attempts at the directory, and how long they take."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from daemon.contacts.wiring import ContactDeps
from schemas.errors import FerrymanError, NotSent, Transient


@contextmanager
def measured(deps: ContactDeps, before_s: float = 0.0) -> Iterator[Clock]:
    """Measures one attempt: yields its clock, and counts it with its duration where it fails, or is cut off at its
    deadline. Where we sent nothing, or our own rate limit had no place, it has not ended: it is begun again."""
    clock = Clock(before_s)
    try:
        yield clock
    except (FerrymanError, CancelledError) as exc:
        of_our_own_limit = isinstance(exc, Transient) and exc.limited and exc.channel is None
        if not isinstance(exc, NotSent) and not of_our_own_limit:
            count(deps, "cgb_sync_failures")
            deps.metrics.observe("cgb_sync_duration", clock())
        raise


def count(deps: ContactDeps, outcome: str) -> None:
    """Count an attempt once, when it ends: `cgb_sync_total` is the sum of successes and failures."""
    deps.metrics.inc("cgb_sync_total")
    deps.metrics.inc(outcome)


class Clock:
    """Seconds spent on calls so far, those of earlier steps included, without the time in the lane."""

    def __init__(self, before_s: float) -> None:
        self._start = perf_counter() - before_s

    def __call__(self) -> float:
        return perf_counter() - self._start
