"""A replay's plan as an operator reads it."""

from __future__ import annotations

import pytest

from adapters.postgres.operator.replay import ReplayFilter, ReplayRun
from daemon.operator.replay import Plan, ReplayError, worker_named
from daemon.workers import WORKERS


def test_a_plan_says_how_many_how_they_ended_and_what_was_delivered_before() -> None:
    run = ReplayRun("contact-sync:1", 4, 9, 8, 3)
    plan = Plan("contact-sync", ReplayFilter(), 8, 9, {"open": 2, "done": 6}, run)
    assert plan.lines() == [
        "8 events of the journal for contact-sync",
        "  6 ended the first time as: done",
        "  2 ended the first time as: open",
        "  3 of 8 were delivered before an interruption",
    ]


def test_a_worker_that_does_not_exist_is_refused_with_those_that_do() -> None:
    assert worker_named(WORKERS, "journal").name == "journal"
    with pytest.raises(ReplayError, match="there are journal, contact-sync"):
        worker_named(WORKERS, "nope")
