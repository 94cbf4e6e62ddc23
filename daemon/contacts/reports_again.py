"""Reports about applicants that waited in vain: by the clock, those whose order has come since are sent again.

They go to their worker alone, as a replay does, and it decides as ever: also that a report is passed on once. A row is
taken in the transaction that sends its report, so of several processes one sends it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from adapters.postgres import reports_again
from adapters.postgres.bus import outbox
from adapters.postgres.pool import Pool
from adapters.postgres.reports_again import Taken
from daemon.bus.worker import Duty, Outside
from schemas.envelope import Event
from schemas.identity import key

APPLICANT_ISSUES: Final = "applicant-issues"
PAGE: Final = 500
MOST: Final = 50_000
"""Reports that one round looks at. Each costs some 6 µs, however many orders there are."""

_MINUTE_S: Final = 60.0

log = structlog.get_logger(__name__)


class Looked(NamedTuple):
    """What a round has found. *again*: reports whose order has come, sent again now. *until*: the last applicant that
    was looked at; "" where all were."""

    again: int
    until: str


async def look_again(pool: Pool, *, after: str = "", dry_run: bool = False) -> Looked:
    """Look at the reports that no order named, by their applicants from *after* on, and send those again that one names
    now. *dry_run*: only look."""
    again = 0
    replay_id = f"{APPLICANT_ISSUES}:reconcile-{uuid.uuid4().hex}"
    for _ in range(MOST // PAGE):
        async with pool.acquire() as conn, conn.transaction():
            page = await reports_again.look(conn, after, PAGE)
            if dry_run:
                again += len(page.named)
            else:
                taken = await reports_again.take(conn, page.named)
                await outbox.send(conn, [_event_of(one) for one in taken], replay_id)
                again += len(taken)
        after = page.last
        if not after:
            break
    return Looked(again, after)


def _event_of(taken: Taken) -> Event:
    """The event that brought the report."""
    return Event(
        id=taken.event_id,
        type="applicant_issue.received",
        source="issues",
        subject=key(applicant_id=taken.applicant_id),
        time=taken.at,
        data=taken.text.encode(),
    )


def duties(outside: Outside) -> Sequence[Duty]:
    """Looking again, by the clock of a process."""
    after = ""

    async def act() -> None:
        nonlocal after
        again, after = await look_again(outside.pool, after=after)
        outside.metrics.inc("ferryman_reports_reconciled_total", n=again)
        if again:
            log.info("reports.reconciled", again=again)

    return (Duty("reports-again", act, outside.settings.ferryman_reconcile_minutes * _MINUTE_S),)
