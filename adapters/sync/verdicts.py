"""What becomes of operations by what was answered to them: values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from adapters.sync.pacing import pause
from adapters.sync.store import Queued, Verdict
from schemas.records.answers import Answer

MOST_RETRIES: Final = 3
"""How often an operation may fail by itself before it is `failed`."""

STAYS_S: Final = 1.0
"""How long an operation waits that was sent and not answered, or waits for another one."""

DELAY_S: Final = 60.0
"""How long an operation makes way for others at whose sending the connection broke each time."""


def verdicts(sent: Sequence[Queued], answers: Iterable[Answer]) -> list[Verdict]:
    """One verdict for each operation that was *sent*. Answers to others are ignored."""
    found = {UUID(answer.op_id): answer for answer in answers if answer.op_id is not None}
    return [_of(one, found.get(one.operation.op_id)) for one in sent]


def charged(one: Queued, reason: str, detail: str | None = None) -> Verdict:
    """*one* has failed by itself: it is tried again, MOST_RETRIES times in all."""
    op_id, retries = one.operation.op_id, one.retries + 1
    if retries >= MOST_RETRIES:
        return Verdict(op_id=op_id, state="failed", reason=reason, detail=detail, retries=retries)
    after_s = STAYS_S + pause(retries)
    return Verdict(op_id=op_id, state="pending", reason=reason, detail=detail, retries=retries, after_s=after_s)


def delayed(one: Queued, reason: str) -> Verdict:
    """*one* makes way for others: it is tried again in a minute, and nothing is counted against it."""
    return Verdict(op_id=one.operation.op_id, state="pending", reason=reason, retries=one.retries, after_s=DELAY_S)


def refused(one: Queued, reason: str, detail: str | None = None) -> Verdict:
    """*one* will never be accepted as it is."""
    return Verdict(op_id=one.operation.op_id, state="failed", reason=reason, detail=detail, retries=one.retries)


def _of(one: Queued, answer: Answer | None) -> Verdict:
    if answer is None:
        return _stays(one, None)
    if answer.result == "rejected":
        return _rejected(one, answer)
    waits = answer.decision == "open"
    return Verdict(
        op_id=one.operation.op_id,
        state="conflict" if waits else "synced",
        version=answer.version or 0,
        decision=answer.decision,
        conflict_id=answer.conflict_id,
        retries=one.retries,
    )


def _rejected(one: Queued, answer: Answer) -> Verdict:
    reason = answer.reason or "refused"
    if reason == "clock-ahead":
        return _stays(one, reason, restamp=True)
    if not answer.retry:
        return refused(one, reason, answer.detail)
    return _stays(one, reason) if reason == "predecessor" else charged(one, reason, answer.detail)


def _stays(one: Queued, reason: str | None, *, restamp: bool = False) -> Verdict:
    return Verdict(
        op_id=one.operation.op_id,
        state="pending",
        reason=reason,
        retries=one.retries,
        after_s=STAYS_S,
        restamp=restamp,
    )
