"""The queue of a replica's file: operations are written, sent, and end."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from adapters.sync.exchange import document
from adapters.sync.sqlite_view import Open, seen, show, show_anew
from adapters.sync.store import Queued, Verdict
from schemas.records.operation import Key, Operation, Unread, Verb, read_operation
from schemas.records.overlay import overlaid, seen_version

_ENVELOPE: Final = 500
"""Bytes of an operation beside its data, about."""


class NoRecord(LookupError):
    """There is no such record here."""


class RecordExists(Exception):
    """There is a record of this id already."""


class BadOperation(ValueError):
    """No server would take it: `reason` is one of those of a rejection."""

    def __init__(self, unread: Unread) -> None:
        super().__init__(unread.detail)
        self.reason = unread.reason


class Tick(NamedTuple):
    """A moment of the replica's clock, which never stands still and never goes back."""

    ms: int
    counter: int


def write(
    connection: sqlite3.Connection, verb: Verb, model: str, record_id: str, data: Mapping[str, Any], now_ms: int
) -> UUID | None:
    """Change a record here, and put the operation into the queue. None: nothing was to be changed. Raises: NoRecord,
    RecordExists, BadOperation."""
    here = seen(connection, model, record_id)
    if verb == "CREATE" and here.row is not None:
        raise RecordExists("there is a record of this id")
    if verb == "UPDATE" and here.row is None:
        raise NoRecord("there is no such record")
    if verb == "DELETE" and here.row is None:
        return None
    before = {} if here.row is None else here.row.data
    fields = {name: one for name, one in data.items() if not (name in before and _same(before[name], one))}
    if verb == "UPDATE" and not fields:
        return None
    tick = _tick(connection, now_ms)
    operation = Operation(
        op_id=_new_id(now_ms),
        operation=verb,
        model=model,
        record_id=record_id,
        data=fields,
        base_version=seen_version(here.version, _on_top(connection, model, record_id), verb, fields),
        base={name: before.get(name) for name in fields} if verb == "UPDATE" else None,
        changed_at=moment(tick.ms),
        tick=tick.counter,
    )
    _check(operation)
    _insert(connection, operation, tick)
    show(connection, model, record_id, overlaid(here.row, [Open(verb, fields)]))
    return operation.op_id


class _Waiting(NamedTuple):
    """An open operation, by what it hides."""

    operation: Verb
    data: Mapping[str, Any]
    base_version: int


def _on_top(connection: sqlite3.Connection, model: str, record_id: str) -> list[_Waiting]:
    rows = connection.execute(
        "SELECT operation, data, base_version FROM operations WHERE open = 1 AND model = ? AND record_id = ?",
        (model, record_id),
    )
    return [_Waiting(verb, orjson.loads(data), version) for verb, data, version in rows]


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _check(operation: Operation) -> None:
    """Raises: BadOperation."""
    try:
        read = read_operation(document(operation))
    except TypeError:
        read = Unread(None, "type", "its data holds what JSON cannot")
    if isinstance(read, Unread):
        raise BadOperation(read)
    if not _is_finite(operation.data):
        raise BadOperation(Unread(None, "type", "a number of it is none: JSON would have no value in its place"))


def _is_finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    return all(map(_is_finite, value)) if isinstance(value, list | tuple) else True


def _insert(connection: sqlite3.Connection, operation: Operation, tick: Tick) -> None:
    try:
        data, base = _json(operation.data), None if operation.base is None else _json(operation.base)
    except TypeError:
        raise BadOperation(Unread(None, "type", "its data holds what JSON cannot")) from None
    connection.execute(
        "INSERT INTO operations (op_id, operation, model, record_id, data, base, base_version, changed_ms, tick)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            str(operation.op_id),
            operation.operation,
            operation.model,
            operation.record_id,
            data,
            base,
            operation.base_version,
            tick.ms,
            tick.counter,
        ),
    )


def _tick(connection: sqlite3.Connection, now_ms: int) -> Tick:
    """The next moment."""
    ms, counter = connection.execute("SELECT ms, tick FROM replica").fetchone()
    found = Tick(now_ms, 0) if now_ms > ms else Tick(ms, counter + 1)
    connection.execute("UPDATE replica SET ms = ?, tick = ?", found)
    return found


def _new_id(ms: int) -> UUID:
    """A UUID of version 7 (RFC 9562, section 5.7): the time, then chance."""
    number = (ms & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10))
    return UUID(int=number & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)


def due(connection: sqlite3.Connection, limit: int, max_bytes: int, now: float) -> list[Queued]:
    """See `ReplicaStore.due`."""
    rows = connection.execute(
        """
        SELECT op_id, operation, model, record_id, data, base, base_version, changed_ms, tick, retries
        FROM operations o
        WHERE state = 'pending' AND next_at <= ? AND NOT EXISTS (
            SELECT 1 FROM operations e
            WHERE e.open = 1 AND e.model = o.model AND e.record_id = o.record_id AND e.n < o.n
              AND e.state = 'pending' AND e.next_at > ?)
        ORDER BY n LIMIT ?
        """,
        (now, now, limit),
    )
    found: list[Queued] = []
    size = 0
    for row in rows:
        size += len(row[4].encode()) + len((row[5] or "").encode()) + _ENVELOPE
        if found and size > max_bytes:
            break
        found.append(_queued(row))
    return found


def _queued(row: Sequence[Any]) -> Queued:
    op_id, verb, model, record_id, data, base, base_version, ms, tick, retries = row
    operation = Operation(
        op_id=UUID(op_id),
        operation=verb,
        model=model,
        record_id=record_id,
        data=orjson.loads(data),
        base=None if base is None else orjson.loads(base),
        base_version=base_version,
        changed_at=moment(ms),
        tick=tick,
    )
    return Queued(operation, retries)


def settle(connection: sqlite3.Connection, ack: str | None, verdicts: Iterable[Verdict], now: float) -> None:
    """See `ReplicaStore.settle`."""
    if ack is not None:
        connection.execute("UPDATE replica SET ack = ?", (ack,))
    closed: dict[Key, None] = {}
    for one in verdicts:
        found = connection.execute(
            "SELECT model, record_id FROM operations WHERE op_id = ? AND state = 'pending'", (str(one.op_id),)
        ).fetchone()
        if found is not None and not _settled(connection, one, found, now):
            closed[found[0], found[1]] = None
    show_anew(connection, closed)


def _settled(connection: sqlite3.Connection, one: Verdict, key: Key, now: float) -> bool:
    """Whether the operation is still on top of its row."""
    name = str(one.op_id)
    if one.state == "pending":
        connection.execute(
            "UPDATE operations SET next_at = ?, retries = ?, reason = ?, detail = ? WHERE op_id = ?",
            (now + one.after_s, one.retries, one.reason, one.detail, name),
        )
        if one.restamp:
            _restamp(connection, int(now * 1000))
        return True
    if one.state == "failed":
        connection.execute(
            "UPDATE operations SET state = 'failed', open = 0, retries = ?, reason = ?, detail = ?, answered_at = ?"
            " WHERE op_id = ?",
            (one.retries, one.reason, one.detail, now, name),
        )
        return False
    version = one.version or 0
    based = connection.execute("SELECT version FROM base WHERE model = ? AND id = ?", key).fetchone()
    stays = version > (0 if based is None else based[0])
    connection.execute(
        "UPDATE operations SET state = ?, open = ?, acked_version = ?, decision = ?, conflict_id = ?, reason = NULL,"
        " detail = NULL, answered_at = ?, acked_generation = (SELECT generation FROM replica) WHERE op_id = ?",
        (one.state, int(stays), version, one.decision, one.conflict_id, now, name),
    )
    return stays


def _restamp(connection: sqlite3.Connection, now_ms: int) -> None:
    """Write what waits with a clock that was ahead as of now, in its order, and set the clock back."""
    late = connection.execute(
        "SELECT n FROM operations WHERE state = 'pending' AND changed_ms > ? ORDER BY n", (now_ms,)
    ).fetchall()
    stamps = [(now_ms, tick, n) for tick, (n,) in enumerate(late)]
    connection.executemany("UPDATE operations SET changed_ms = ?, tick = ? WHERE n = ?", stamps)
    connection.execute("UPDATE replica SET ms = ?, tick = ? WHERE ms > ?", (now_ms, len(late), now_ms))


def _json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(value)).decode()


def moment(ms: int) -> datetime:
    """*ms*: since 1970."""
    return datetime.fromtimestamp(ms / 1000, UTC)
