"""The answers to operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daemon.records.deciding.rights import reaches
from daemon.records.state import Author, Conflict, Decided, Effect, Stored
from schemas.records.answers import Answer
from schemas.records.operation import Operation


def rejected(op: Operation, reason: str, detail: str, *, retry: bool = False) -> Decided:
    """*reason*: one of REASONS. *detail*: what to do, without a value that was sent."""
    return Decided(answer=Answer(op_id=op.id, result="rejected", reason=reason, detail=detail, retry=retry))


def document(stored: Stored) -> dict[str, Any]:
    """A record as its readers see it. Of a deleted one nothing is told but that."""
    return {
        "model": stored.model,
        "id": stored.record_id,
        "version": stored.version,
        "owner_id": stored.owner_id,
        "branch": stored.branch,
        "deleted": stored.deleted,
        "data": {} if stored.deleted else stored.data,
        "changed_at": stored.changed_at,
    }


def answered(
    op: Operation,
    author: Author,
    before: Stored | None,
    after: Stored | None,
    *,
    conflict: Conflict | None = None,
    effect: Effect | None = None,
    parallel: int = 0,
    differs: bool = False,
) -> Decided:
    """An operation that was taken. *before*: the record as it stood; None: there was none. *after*: as it stands now,
    None: as before. *differs*: it is not what its author thinks it is."""
    stands = before if after is None else after
    record: Mapping[str, Any] | None = None
    if stands is not None and (differs or parallel or conflict is not None) and reaches(author, stands):
        record = document(stands)
    answer = Answer(
        op_id=op.id,
        result="applied" if conflict is None else "conflict",
        version=0 if stands is None else stands.version,
        decision=None if conflict is None else conflict.decision,
        record=record,
    )
    return Decided(answer=answer, stored=after, conflict=conflict, effect=effect, parallel=parallel)


def strange(op: Operation, conflict: Conflict | None) -> Decided:
    """The answer about a record that is not there, or that its author may not know of."""
    answer = Answer(
        op_id=op.id,
        result="applied" if conflict is None else "conflict",
        version=0,
        decision=None if conflict is None else conflict.decision,
    )
    return Decided(answer=answer, conflict=conflict)
