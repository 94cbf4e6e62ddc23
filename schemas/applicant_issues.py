"""What is wrong with one applicant's documents, as Vizi reports it: a report tells all that is wrong at its time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from schemas.phone import Phone
from schemas.webhooks.vizi import body_from
from schemas.webhooks.vizi_issues import issues_from


class Issue(NamedTuple):
    """One issue. *category*: as `face_photo`. *code*: Vizi's own name for it, as `blurred_photo`. *label*: the words
    for it. Codes and categories are not a closed set."""

    category: str
    code: str | None
    label: str | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class IssueReport:
    """One report about the applicant *applicant_id*, which arrived at *reported_at*; it has no time of its own.

    *issues*: in the order of the webhook; none: nothing is wrong any more. *issues_data*: the same in the shape of the
    webhook, with members that are not read. *phone_raw*: as it came. *extra_data*: members that have no column.
    *raw_body*: the exact text received.
    """

    applicant_id: str
    reported_at: datetime
    issues: tuple[Issue, ...]
    issues_data: Mapping[str, Any]
    phone_raw: Any
    extra_data: Mapping[str, Any]
    raw_body: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ApplicantOrder:
    """What the newest order that names an applicant says. *phone*: of the buyer. *alerts*: the buyer's consent to
    messages; None: not said, which is no consent."""

    order_id: str
    branch: str | None
    status: str | None
    country: str | None
    client_name: str | None
    applicant_name: str | None
    phone: Phone | None
    alerts: bool | None


def applicant_id_of(body: Mapping[str, Any]) -> str | None:
    """The applicant of a report's body, whose other parts may be missing or wrong: a text, or an integer."""
    value = body.get("applicantId")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def is_test_report(applicant_id: str) -> bool:
    """Whether the report is a test, marked as Vizi marks its test orders."""
    return applicant_id.endswith("-TEST")


def report_from(data: bytes, received_at: datetime) -> IssueReport:
    """The report of one webhook body, received at *received_at* (with time zone).

    Raises: Malformed, with the name of the part that is missing or of the wrong kind and never its value.
    """
    webhook = issues_from(body_from(data))
    told = {name: [item for item in items if item.value or item.label] for name, items in webhook.issues.items()}
    return IssueReport(
        applicant_id=webhook.applicant_id,
        reported_at=received_at,
        issues=tuple(Issue(name, item.value, item.label) for name, items in told.items() for item in items),
        issues_data={name: [item.model_dump() for item in items] for name, items in told.items()},
        phone_raw=webhook.phone,
        extra_data=webhook.model_extra or {},
        raw_body=data.decode(),
    )
