"""The operations of a replica's file as its user looks at them, and what a person does about those that failed."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from adapters.sync.sqlite_queue import moment
from adapters.sync.sqlite_view import show_anew
from schemas.records.operation import Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An operation of this replica as its author may look at it. *state*: `pending`, `synced`, `conflict` or `failed`.
    *decision*: of a conflict: whose value stands at the server, the author's being *theirs* there; `open`: a person
    decides. *reason*, *detail*: of a refusal, or why it waits."""

    op_id: UUID
    operation: Verb
    model: str
    record_id: str
    data: Mapping[str, Any]
    changed_at: datetime
    state: str
    retries: int
    decision: str | None
    conflict_id: int | None
    reason: str | None
    detail: str | None


def retry_failed(connection: sqlite3.Connection, op_id: UUID | None) -> int:
    """Let failed operations wait again, with their ids: all, or the one of *op_id*. Returns how many they are."""
    rows = connection.execute(
        "UPDATE operations SET state = 'pending', open = 1, retries = 0, next_at = 0, reason = NULL, detail = NULL,"
        " answered_at = NULL WHERE state = 'failed' AND (?1 IS NULL OR op_id = ?1) RETURNING model, record_id",
        (None if op_id is None else str(op_id),),
    ).fetchall()
    show_anew(connection, dict.fromkeys(rows))
    return len(rows)


def dismiss(connection: sqlite3.Connection, op_id: UUID) -> bool:
    """A person has seen how an operation failed or met others: it is shown no more. Whether there was one."""
    name = str(op_id)
    gone = connection.execute("DELETE FROM operations WHERE op_id = ? AND state = 'failed'", (name,)).rowcount
    done = connection.execute(
        "UPDATE operations SET state = 'synced', decision = NULL WHERE op_id = ? AND decision IS NOT NULL", (name,)
    ).rowcount
    return gone + done > 0


_SELECT: Final = """
SELECT op_id, operation, model, record_id, data, changed_ms, state, retries, decision, conflict_id, reason, detail
FROM operations WHERE {} ORDER BY n
"""

_SHOWN: Final = {
    "pending": "state = 'pending'",
    "failed": "state = 'failed'",
    "conflicts": "decision IS NOT NULL",
}


def shown(connection: sqlite3.Connection, which: str) -> list[Written]:
    """The operations that are `pending`, `failed` or in `conflicts`, oldest first."""
    rows = connection.execute(_SELECT.format(_SHOWN[which]))
    return [
        Written(
            op_id=UUID(op_id),
            operation=verb,
            model=model,
            record_id=record_id,
            data=orjson.loads(data),
            changed_at=moment(ms),
            state=state,
            retries=retries,
            decision=decision,
            conflict_id=conflict_id,
            reason=reason,
            detail=detail,
        )
        for op_id, verb, model, record_id, data, ms, state, retries, decision, conflict_id, reason, detail in rows
    ]
