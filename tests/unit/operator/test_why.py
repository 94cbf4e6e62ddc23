"""Why an event is open: the first thing that must change, in one sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.postgres.operator.trail import FailedAttempts
from daemon.operator.members import Member, providers
from daemon.operator.trail import EventTrail
from daemon.operator.why import NEXT, Circumstances, reasons
from daemon.telemetry.report import ProviderReport, Report
from daemon.workers import WORKERS
from tests.support.toy import make_event

NOON = datetime(2031, 3, 1, 12, tzinfo=UTC)
FAILED = FailedAttempts("contact-sync", "", 0, "Uncertain", "CGB: HTTP 500", NOON, NOON, 5, "http-500")


def why(attempts: list[FailedAttempts] | None = None, paused: str = "", **report: Any) -> str:
    """Why an order is open for contact-sync."""
    members = [Member("a", Report(**{"workers": ("journal", "contact-sync")} | report))] if report != {"no": 1} else []
    now = Circumstances(frozenset({paused}) - {""}, members, providers(members))
    found = EventTrail(make_event("key"), "journal", NOON, ("journal", "contact-sync"), [], attempts or [], [], [], 0)
    return reasons(found, WORKERS, now)["contact-sync"]


def test_an_event_that_its_worker_has_put_off_says_what_it_waits_for() -> None:
    members = [Member("a", Report(workers=("applicant-issues",)))]
    put_off = {"applicant-issues": "waits for its order"}
    found = EventTrail(make_event("key"), "journal", NOON, ("applicant-issues",), [], [], [], [], 0, put_off)
    assert reasons(found, WORKERS, Circumstances(members=members)) == {"applicant-issues": "waits for its order"}


def cgb(state: str, error: str = "") -> dict[str, ProviderReport]:
    return {"cgb": ProviderReport(state=state, error=error)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"paused": "contact-sync"}, "contact-sync is paused by an operator: `ferryman resume contact-sync`"),
        ({"paused": "cgb"}, "cgb is paused by an operator: `ferryman resume cgb`"),
        ({"no": 1}, "no daemon runs: `ferryman run`"),
        (
            {"workers": ("journal",), "workers_off": {"contact-sync": "CGB_API_KEY is not set"}},
            "no process runs contact-sync: CGB_API_KEY is not set",
        ),
        (
            {"providers": cgb("refused", "http-401")},
            "cgb refuses our account or key (http-401): mend the account",
        ),
        ({"providers": cgb("away", "http-500")}, "cgb does not answer as it should (http-500): what waits goes on"),
        ({"providers": cgb("asked")}, "cgb has asked us to wait: what waits goes on"),
        (
            {"attempts": [FAILED], "providers": cgb("up")},
            "5 attempts failed, the last with http-500; the next one is at 2031-03-01 12:00:00 UTC",
        ),
        ({"providers": cgb("up")}, NEXT),
    ],
)
def test_an_open_event_says_why_in_one_sentence(given: dict[str, Any], said: str) -> None:
    assert why(**given).startswith(said)
    assert "\n" not in why(**given)
