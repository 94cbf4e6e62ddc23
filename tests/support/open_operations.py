"""What a replica's file holds, read past the code under test."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, NamedTuple
from uuid import UUID

from adapters.sync.sqlite_view import Open
from schemas.records.overlay import Row


class Kept(NamedTuple):
    """*rows*: the copied ones. *open*: the operations on top, in their order. *states*: of all
    operations. *on_top*: the ids of the open ones."""

    rows: dict[str, Row]
    open: dict[str, list[Open]]
    states: dict[UUID, str]
    on_top: set[UUID]


def kept_in(connection: sqlite3.Connection) -> Kept:
    """What the file holds of all models; ids are taken for unique."""
    rows: dict[str, Row] = {}
    for name, version, deleted, data in connection.execute("SELECT id, version, deleted, data FROM base"):
        rows[name] = Row(version=version, data=json.loads(data or "{}"), deleted=bool(deleted))
    on_top: dict[str, list[Open]] = {}
    states: dict[UUID, str] = {}
    ids: set[UUID] = set()
    found: list[Any] = connection.execute(
        "SELECT op_id, operation, record_id, data, state, open FROM operations ORDER BY n"
    ).fetchall()
    for op_id, verb, name, data, state, is_open in found:
        states[UUID(op_id)] = state
        if is_open:
            ids.add(UUID(op_id))
            on_top.setdefault(name, []).append(Open(verb, json.loads(data)))
    return Kept(rows, on_top, states, ids)
