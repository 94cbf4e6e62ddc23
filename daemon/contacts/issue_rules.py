"""Decides what becomes of a report about an applicant. Values in, values out: no clock, no calls."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from schemas.applicant_issues import ApplicantOrder, IssueReport
from schemas.phone import Phone, parse_phone

UNKNOWN_APPLICANT: Final = "unknown applicant"
NO_ISSUES: Final = "no issues"
OTHER_BRANCH: Final = "other branch"
NO_CONSENT: Final = "no consent"
NO_PHONE: Final = "no phone"

SHORTEST_PAUSE: Final = timedelta(seconds=2)
LONGEST_PAUSE: Final = timedelta(seconds=30)
"""Between two looks for the order of a report."""


@dataclass(frozen=True, slots=True)
class Await:
    """No order names the applicant yet: look again at *until*."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Skip:
    """No message is to follow, for this *reason*."""

    reason: str


@dataclass(frozen=True, slots=True)
class PassOn:
    """A message to *phone* may follow."""

    phone: Phone


Verdict: TypeAlias = Await | Skip | PassOn


def decide(
    report: IssueReport, order: ApplicantOrder | None, *, branches: Collection[str], wait: timedelta, now: datetime
) -> Verdict:
    """What becomes of *report*, whose applicant is named by *order*.

    *branches*: those whose customers may get messages; empty: all. *wait*: how long a report may wait for its order.
    """
    if order is None:
        return _wait(report.reported_at, wait, now)
    if not report.issues:
        return Skip(NO_ISSUES)
    if branches and order.branch not in branches:
        return Skip(OTHER_BRANCH)
    if order.alerts is not True:
        return Skip(NO_CONSENT)
    phone = phone_of(report, order)
    return Skip(NO_PHONE) if phone is None else PassOn(phone)


def phone_of(report: IssueReport, order: ApplicantOrder) -> Phone | None:
    """Where a message goes: to the report's own phone where it has one, else to that of the order. A report's phone
    that is not usable is no phone: the sender did not mean the order's."""
    given = report.phone_raw
    number = given.get("number") if isinstance(given, dict) else given
    if isinstance(number, bool) or not isinstance(number, str | int) or not str(number).strip():
        return order.phone
    return parse_phone(given, branch=order.branch)


def _wait(reported_at: datetime, wait: timedelta, now: datetime) -> Await | Skip:
    """The longer it has waited, the longer the pause until the next look."""
    end = reported_at + wait
    if now >= end:
        return Skip(UNKNOWN_APPLICANT)
    pause = max(SHORTEST_PAUSE, min(LONGEST_PAUSE, (now - reported_at) / 4))
    return Await(min(now + pause, end))
