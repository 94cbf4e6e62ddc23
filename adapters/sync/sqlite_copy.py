"""The copy of the server's rows in a replica's file: changes are taken into it, and it is built anew."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, cast

import orjson

from adapters.sync.sqlite_view import show_anew
from adapters.sync.store import HISTORY, Change, Page, RebuildReason
from schemas.records.operation import Key

_PUT: Final = """
INSERT INTO {0} VALUES (?, ?, ?, 0, ?) ON CONFLICT (model, id) DO UPDATE
SET version = excluded.version, deleted = 0, data = excluded.data WHERE excluded.version > {0}.version
"""

# What a tombstone held is kept while an operation is on top of it: an UPDATE brings it back.
_BURY: Final = """
INSERT INTO {0} AS b VALUES (?, ?, ?, 1, NULL) ON CONFLICT (model, id) DO UPDATE
SET version = excluded.version, deleted = 1, data = CASE WHEN EXISTS (
    SELECT 1 FROM operations o WHERE o.open = 1 AND o.model = b.model AND o.record_id = b.id) THEN b.data END
WHERE excluded.version > b.version
"""

_DROP: Final = "DELETE FROM {0} WHERE model = ? AND id = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A record that the server had at *version*, and has at *server_version* since its history went back (0: not at
    all). *data*: what it held, as far as it was pulled; None: it was deleted. Operations of this replica do not bring
    all of it back."""

    model: str
    record_id: str
    version: int
    server_version: int
    data: dict[str, Any] | None


def take(connection: sqlite3.Connection, page: Page) -> int:
    """See `ReplicaStore.take`."""
    building = connection.execute("SELECT rebuild_reason IS NOT NULL FROM replica").fetchone()[0]
    before = connection.total_changes
    for op, run in groupby(page.changes, key=lambda change: change.op):
        _taken(connection, "base_next" if building else "base", op, list(run))
    new = connection.total_changes - before
    if building:
        connection.execute("UPDATE replica SET rebuild_cursor = ?", (page.cursor,))
        return new
    _close(connection, page.changes)
    connection.execute("UPDATE replica SET cursor = ? WHERE cursor IS NOT ?", (page.cursor, page.cursor))
    return new


def _taken(connection: sqlite3.Connection, table: str, op: str, changes: Sequence[Change]) -> None:
    if op == "upsert":
        rows = [(c.model, c.record_id, c.version, orjson.dumps(c.data).decode()) for c in changes]
        connection.executemany(_PUT.format(table), rows)
    elif op == "delete":
        connection.executemany(_BURY.format(table), [(c.model, c.record_id, c.version) for c in changes])
        _erase(connection, table, [(c.model, c.record_id) for c in changes if c.erased])
    else:
        connection.executemany(_DROP.format(table), [(c.model, c.record_id) for c in changes])


def _erase(connection: sqlite3.Connection, table: str, keys: Sequence[Key]) -> None:
    """Keep nothing of records that were erased for privacy, nor of what was written about them here."""
    connection.executemany(f"UPDATE {table} SET data = NULL WHERE model = ? AND id = ?", keys)  # noqa: S608 - ours
    connection.executemany("DELETE FROM operations WHERE model = ? AND record_id = ?", keys)
    connection.executemany("DELETE FROM lost WHERE model = ? AND id = ?", keys)


def _close(connection: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """End the operations whose version is reached, and those on records that are not ours to read any more."""
    if not connection.execute("SELECT EXISTS (SELECT 1 FROM overlay)").fetchone()[0]:
        return
    touched: dict[Key, None] = {}
    for change in changes:
        key = change.model, change.record_id
        reached = None if change.op == "remove" else change.version
        connection.execute(
            "UPDATE operations SET open = 0 WHERE open = 1 AND state <> 'pending' AND model = ?1 AND record_id = ?2"
            " AND (?3 IS NULL OR acked_version <= ?3)",
            (*key, reached),
        )
        touched[key] = None
    over = [key for key in touched if _has_overlay(connection, key)]
    show_anew(connection, over)


def _has_overlay(connection: sqlite3.Connection, key: Key) -> bool:
    return connection.execute("SELECT 1 FROM overlay WHERE model = ? AND id = ?", key).fetchone() is not None


def begin_rebuild(connection: sqlite3.Connection, reason: RebuildReason) -> None:
    """See `ReplicaStore.begin_rebuild`."""
    under_way = connection.execute("SELECT rebuild_reason FROM replica").fetchone()[0]
    kept = under_way if under_way in HISTORY and reason not in HISTORY else reason
    connection.execute("DELETE FROM base_next")
    connection.execute(
        "UPDATE replica SET rebuild_reason = ?, rebuild_cursor = NULL, generation = generation + 1", (kept,)
    )


def end_rebuild(connection: sqlite3.Connection, now: float) -> None:
    """See `ReplicaStore.end_rebuild`."""
    reason = connection.execute("SELECT rebuild_reason FROM replica").fetchone()[0]
    if reason is None:
        return
    if cast(RebuildReason, reason) in HISTORY:
        _name_lost(connection, now)
        _send_again(connection)
    _end_answered(connection)
    keys = connection.execute("SELECT DISTINCT model, record_id FROM operations WHERE open = 1").fetchall()
    connection.execute("DROP TABLE base")
    connection.execute("ALTER TABLE base_next RENAME TO base")
    connection.execute(
        "CREATE TABLE base_next (model TEXT, id TEXT, version INTEGER NOT NULL, deleted INTEGER NOT NULL, data TEXT,"
        " PRIMARY KEY (model, id)) WITHOUT ROWID"
    )
    connection.execute("DELETE FROM overlay")
    connection.execute("UPDATE replica SET cursor = rebuild_cursor, rebuild_cursor = NULL, rebuild_reason = NULL")
    show_anew(connection, keys)


def _name_lost(connection: sqlite3.Connection, now: float) -> None:
    """Note the rows whose versions the server does not have any more, where others than this replica made them."""
    connection.execute(
        """
        INSERT INTO lost
        SELECT b.model, b.id, b.version, COALESCE(n.version, 0), CASE WHEN b.deleted = 0 THEN b.data END, ?
        FROM base b LEFT JOIN base_next n ON n.model = b.model AND n.id = b.id
        WHERE b.version > COALESCE(n.version, 0) AND b.version - COALESCE(n.version, 0) > (
            SELECT count(DISTINCT o.acked_version) FROM operations o
            WHERE o.model = b.model AND o.record_id = b.id AND o.state IN ('synced', 'conflict')
              AND o.acked_version > COALESCE(n.version, 0) AND o.acked_version <= b.version)
        ON CONFLICT (model, id) DO UPDATE
        SET version = excluded.version, server_version = excluded.server_version, data = excluded.data, at = excluded.at
        """,
        (now,),
    )


def _send_again(connection: sqlite3.Connection) -> None:
    """Let everything that was answered wait again, against the versions that the server has now."""
    connection.execute(
        "UPDATE operations SET state = 'pending', open = 1, next_at = 0, retries = 0, acked_version = NULL,"
        " acked_generation = NULL, decision = NULL, conflict_id = NULL, answered_at = NULL"
        " WHERE state IN ('synced', 'conflict')"
    )
    connection.execute(
        """
        UPDATE operations SET base_version = MIN(base_version, COALESCE((
            SELECT n.version FROM base_next n WHERE n.model = operations.model AND n.id = operations.record_id), 0))
        WHERE state = 'pending'
        """
    )


def _end_answered(connection: sqlite3.Connection) -> None:
    """End the answered operations that the new copy holds, or whose record it lacks though it began after them."""
    connection.execute(
        """
        UPDATE operations SET open = 0 WHERE open = 1 AND state <> 'pending' AND COALESCE(
            acked_version <= (
                SELECT n.version FROM base_next n WHERE n.model = operations.model AND n.id = operations.record_id),
            acked_generation < (SELECT generation FROM replica))
        """
    )


def lost(connection: sqlite3.Connection) -> list[Lost]:
    """What the server has lost, and this replica does not bring back."""
    rows = connection.execute("SELECT model, id, version, server_version, data FROM lost ORDER BY model, id")
    return [
        Lost(
            model=model,
            record_id=record_id,
            version=version,
            server_version=server_version,
            data=None if data is None else orjson.loads(data),
        )
        for model, record_id, version, server_version, data in rows
    ]
