"""The applicant-issues worker: every report about an applicant becomes its row, finds its order, and is passed on.

    ""       which order names the applicant ──► none: keep the row, look again, for FERRYMAN_ISSUE_WAIT_SECONDS at most
        ──► by the order's branch, consent and phone: skipped with a reason, or `applicant_issue.reported`

A report that has waited in vain ends as "unknown applicant"; where its order comes later, `reports_again` sends it
again. `applicant_issue.reported` is made in the transaction that keeps the row, and once for each report: a replay of a
report that was passed on is skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import orjson

from adapters.postgres import applicant_issues, contacts
from adapters.postgres.applicant_issues import IssueRow, Known, Status
from adapters.postgres.pool import Connection
from daemon.bus.aside import LARGE_BYTES, in_thread
from daemon.bus.outcome import Done, Later, Outcome, Row, Turn
from daemon.bus.worker import Worker
from daemon.contacts.issue_rules import Await, PassOn, Skip, decide, phone_of
from daemon.contacts.wiring import CONTACTS, ContactDeps
from schemas.applicant_issues import IssueReport, is_test_report, report_from
from schemas.envelope import Event, event_id
from schemas.errors import FerrymanError, Malformed
from schemas.identity import key

WAITS: Final = "waits for its order"


async def handle(event: Event, deps: ContactDeps, turn: Turn) -> Outcome:
    """One look for the order of a report. Raises Malformed for a payload whose parts have the wrong type."""
    report = turn.memo if isinstance(turn.memo, IssueReport) else await _read(event.data, event.time)
    if is_test_report(report.applicant_id):
        return Done(skipped="test report")
    known = await deps.applicant(report.applicant_id)
    if (over := _over(event, known)) is not None:
        return Done(skipped=over)
    verdict = decide(
        report,
        known.order,
        branches=deps.settings.ferryman_message_branches,
        wait=timedelta(seconds=deps.settings.ferryman_issue_wait_seconds),
        now=turn.now,
    )
    match verdict:
        case Await():
            rows = (_row(event, report, known, "waiting", WAITS, None),) if turn.step == "" else ()
            return Later(verdict.until, rows=rows, step="waiting", memo=report)
        case Skip():
            return Done(rows=(_row(event, report, known, "skipped", verdict.reason, turn.now),), skipped=verdict.reason)
        case PassOn():
            return Done(rows=(_row(event, report, known, "reported", None, turn.now),))


async def _read(data: bytes, received_at: datetime) -> IssueReport:
    """The report in *data*; a large one is read in a thread, so that the process goes on. Raises: Malformed."""
    if len(data) <= LARGE_BYTES:
        return report_from(data, received_at)
    return await in_thread(lambda: report_from(data, received_at))


def _over(event: Event, known: Known) -> str | None:
    """Why nothing is to be done for *event* any more: the row has a newer report, or this one was
    passed on."""
    if known.reported_at is None or known.reported_at < event.time:
        return None
    if known.event_id == event.id:
        return "reported already" if known.status == "reported" else None
    return "superseded" if known.reported_at > event.time else None


def _row(
    event: Event, report: IssueReport, known: Known, status: Status, reason: str | None, at: datetime | None
) -> IssueRow:
    phone = None if known.order is None else phone_of(report, known.order)
    return IssueRow(event=event, report=report, status=status, reason=reason, order=known.order, phone=phone, at=at)


def buried(event: Event, error: FerrymanError, turn: Turn) -> Sequence[Row]:
    """The row that keeps the report of a dead letter as failed; none where the report cannot be read."""
    try:
        report = report_from(event.data, event.time)
    except Malformed:
        return ()
    return (_row(event, report, Known(None), "failed", error.full_text or type(error).__name__, turn.now),)


async def record(conn: Connection, rows: Sequence[Row]) -> Sequence[Event]:
    """Write a batch of reports; returns an `applicant_issue.reported` for each that is to be passed on. A person
    whom one is passed on for gets a contact here. Locks people before reports."""
    issues = [row for row in rows if isinstance(row, IssueRow)]
    phones = {row.phone.e164 for row in issues if row.phone is not None}
    addressed = {row.phone.e164 for row in issues if row.phone is not None and row.status == "reported"}
    people = await contacts.ensure(conn, sorted(phones), source="issues", only_known=phones - addressed)
    kept = await applicant_issues.store(conn, issues, people)
    return [_reported(row, people) for row in kept if row.status == "reported"]


def _reported(row: IssueRow, people: Mapping[str, UUID]) -> Event:
    """What a message about the report needs. Its id is that of the report as it arrived: the same report that arrives
    again, after the inbox has forgotten it, is passed on again."""
    report, order, event = row.report, row.order, row.event
    assert order is not None
    assert row.phone is not None
    assert row.at is not None
    contact = people.get(row.phone.e164)
    data = {
        "order_id": order.order_id,
        "order_status": order.status,
        "branch": order.branch,
        "country": order.country,
        "client_name": order.client_name,
        "applicant_id": report.applicant_id,
        "applicant_name": order.applicant_name,
        "phone": row.phone.e164,
        "contact_id": None if contact is None else str(contact),
        "issues": [issue._asdict() for issue in report.issues],
    }
    return Event(
        id=event_id("ferryman", "applicant_issue.reported", event.id, event.time.isoformat()),
        type="applicant_issue.reported",
        source="ferryman",
        subject=key(phone=row.phone),
        time=row.at,
        data=orjson.dumps(data),
        traceparent=event.traceparent,
        causationid=event.id,
    )


WORKER: Final[Worker[ContactDeps]] = Worker(
    name="applicant-issues",
    reads=("orders",),
    types=frozenset({"applicant_issue.received"}),
    begins="everything",
    domain=CONTACTS,
    handle=handle,
    record=record,
    buried=buried,
)
