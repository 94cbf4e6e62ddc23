"""The one statement that writes records, and all that goes with them.

It takes the clock first, and holds it until its commit is visible: whoever has seen number n + 1 can see n. All its
other parts wait for the clock, so two such statements meet nowhere else, and never wait for each other in a circle. Run
it by itself and not within a transaction: then nothing is held while a client thinks. A record is written only where
the version that was read still stands, and what belongs to it only together with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final
from uuid import UUID

import orjson
from asyncpg import UniqueViolationError

from adapters.postgres.audit_log import Logged
from adapters.postgres.bus.events import COLUMNS
from adapters.postgres.pool import Connection, Pool
from adapters.postgres.records.columns import column, split
from adapters.postgres.records.rows import (
    TYPES,
    AckRow,
    BaseRow,
    ConflictRow,
    ExitRow,
    LedgerRow,
    QueueRow,
    RecordRow,
)
from schemas.envelope import Event
from schemas.errors import FerrymanError

_BETWEEN: Final = "\x1f"
"""Between the fields of a conflict: no name holds it."""

# `c` is read by subqueries: so the planner knows that it is one row. It compiles a statement that it takes for huge.
_CLOCK: Final = "c AS (UPDATE sync_clock SET seq = seq + {n} WHERE one RETURNING seq - {n} AS first)"
_GIVEN: Final = (
    "i AS (SELECT * FROM unnest({args}) WITH ORDINALITY AS t (model, record_id, expected, version, owner_id, branch,"
    " deleted, erased, data, stamps, up_version, changed_at, id, event, n))"
)
_RECORDS: Final = """
w AS (
  INSERT INTO records AS r (model, record_id, version, prev, seq, owner_id, branch, deleted, erased, data, stamps,
                            up_version, changed_at, deleted_at)
  SELECT model, record_id, version, expected, (SELECT first FROM c) + n, owner_id, branch, deleted, erased,
         data::jsonb, stamps, up_version, changed_at, CASE WHEN deleted THEN now() END
  FROM i
  ON CONFLICT (model, record_id) DO UPDATE SET
    version = excluded.version, prev = excluded.prev, seq = excluded.seq, owner_id = excluded.owner_id,
    branch = excluded.branch, deleted = excluded.deleted, erased = excluded.erased, data = excluded.data,
    stamps = excluded.stamps, up_version = excluded.up_version, changed_at = excluded.changed_at,
    deleted_at = excluded.deleted_at, updated_at = now()
  WHERE r.version = excluded.prev
  RETURNING r.model, r.record_id, r.seq, r.erased)"""
_OUTBOX: Final = f"""
o AS (
  INSERT INTO outbox ({COLUMNS})
  SELECT i.id, t.type, t.source, i.model || ':' || i.record_id, t.time, i.event, t.traceparent, t.causationid,
         t.schemaversion
  FROM w JOIN i ON i.n = w.seq - (SELECT first FROM c) CROSS JOIN (VALUES ({{args}}))
    AS t (type, source, time, traceparent, causationid, schemaversion) ORDER BY i.n
  RETURNING id, seq)"""  # noqa: S608 - constants only
_OPERATION: Final = "user_id, op_id, replica, model, record_id, digest, result, decision, version"
_LEDGER: Final = f"""
l AS (
  INSERT INTO sync_ops ({_OPERATION})
  SELECT user_id, op_id, replica, model, record_id, digest, result, decision, t.version
  FROM w JOIN unnest({{args}}) AS t (user_id, op_id, replica, n, digest, result, decision, version)
    ON t.n = w.seq - (SELECT first FROM c)
  RETURNING user_id, op_id)"""  # noqa: S608 - constants only
_UNCHANGED: Final = f"""
n AS (
  INSERT INTO sync_ops ({_OPERATION}) SELECT {_OPERATION} FROM unnest({{args}}) AS t ({_OPERATION})
  WHERE (SELECT first FROM c) IS NOT NULL
  ON CONFLICT DO NOTHING RETURNING user_id, op_id)"""  # noqa: S608 - constants only
_MET: Final = """
m AS (
  SELECT t.* FROM unnest({args}) WITH ORDINALITY AS t (user_id, op_id, operation, model, record_id, owner_id,
    base_version, version, base, ours, theirs, fields, strategy, decision, replaces, place)
  JOIN ({done}) AS d USING (user_id, op_id)),
u AS (
  UPDATE sync_conflicts k SET theirs = m.theirs::jsonb, fields = string_to_array(m.fields, E'\\x1f'), op_id = m.op_id,
    base_version = m.base_version, version = m.version
  FROM m WHERE k.id = m.replaces AND k.decision IS NULL RETURNING k.user_id, k.op_id, k.id),
k AS (
  INSERT INTO sync_conflicts (user_id, op_id, operation, model, record_id, owner_id, base_version, version, base, ours,
    theirs, fields, strategy, decision, decided_at, decided_by)
  SELECT user_id, op_id, operation, model, record_id, owner_id, base_version, version, base::jsonb, ours::jsonb,
    theirs::jsonb, string_to_array(fields, E'\\x1f'), strategy, decision,
    CASE WHEN decision IS NOT NULL THEN now() END, CASE WHEN decision IS NOT NULL THEN 'rule' END
  FROM m WHERE NOT EXISTS (SELECT FROM u WHERE u.id = m.replaces) ORDER BY place
  RETURNING user_id, op_id, id)"""
_EXITS: Final = """
x AS (
  INSERT INTO sync_exits (audience, model, record_id, seq)
  SELECT audience, model, record_id, seq FROM w JOIN unnest({args}) AS t (audience, model, record_id)
    USING (model, record_id)
  ON CONFLICT (audience, model, record_id) DO UPDATE SET seq = excluded.seq, at = now())"""
_BASES: Final = """
b AS (
  INSERT INTO sync_base (model, record_id, up_version, deleted, owner_id, branch, data, stamps)
  SELECT model, record_id, up_version, t.deleted, owner_id, branch, data::jsonb, stamps
  FROM w JOIN unnest({args}) AS t (model, record_id, up_version, deleted, owner_id, branch, data, stamps)
    USING (model, record_id)
  ON CONFLICT DO NOTHING)"""
# what an open operation writes hides what the upstream has there: who writes over it has not seen that (seen_version)
_QUEUE: Final = """
qi AS (
  SELECT * FROM unnest({args}) WITH ORDINALITY
    AS t (op_id, operation, model, record_id, data, user_id, base_version, base, changed_at, tick, origin, place)),
q AS (
  INSERT INTO sync_queue (op_id, operation, model, record_id, data, user_id, base_version, base, changed_at, tick,
                          origin)
  SELECT op_id, operation, model, record_id, data::jsonb, user_id, LEAST(base_version, (
           SELECT min(k.base_version) FROM sync_queue k
           WHERE k.model = qi.model AND k.record_id = qi.record_id AND NOT k.settled AND k.state <> 'failed'
             AND ('DELETE' IN (k.operation, qi.operation) OR k.data ?| ARRAY (
                    SELECT jsonb_object_keys(e.data::jsonb) FROM qi e
                    WHERE e.model = qi.model AND e.record_id = qi.record_id AND e.place <= qi.place)))),
         base::jsonb, changed_at, tick, origin
  FROM w JOIN qi USING (model, record_id)
  ORDER BY place)"""
_ACKS: Final = """
a AS (
  INSERT INTO sync_replicas AS r (replica, principal, ack, ack_before, op_ids, pushed_at)
  SELECT replica, principal, ack, before, string_to_array(op_ids, ',')::uuid[], now()
  FROM unnest({args}) AS t (replica, principal, ack, before, op_ids)
  WHERE (SELECT first FROM c) IS NOT NULL
  ON CONFLICT (replica) DO UPDATE
    SET ack = excluded.ack, ack_before = excluded.ack_before, op_ids = excluded.op_ids, pushed_at = now()
    WHERE r.principal = excluded.principal)"""
_FORGOTTEN: Final = """
f1 AS (DELETE FROM sync_conflicts t USING w WHERE (t.model, t.record_id) = (w.model, w.record_id) AND w.erased),
f2 AS (DELETE FROM sync_base t USING w WHERE (t.model, t.record_id) = (w.model, w.record_id) AND w.erased),
f3 AS (DELETE FROM sync_queue t USING w WHERE (t.model, t.record_id) = (w.model, w.record_id) AND w.erased),
f4 AS (DELETE FROM record_people t USING w WHERE (t.model, t.record_id) = (w.model, w.record_id) AND w.erased)"""
_AUDIT: Final = """
g AS (
  INSERT INTO audit_log (actor, action, subject, detail)
  SELECT actor, action, t.subject, detail::jsonb FROM o
  CROSS JOIN unnest({args}) AS t (actor, action, subject, detail))"""

_RECORD: Final = "text text bigint bigint text text bool bool text text bigint timestamptz text text"
"""A record, and the id and the data of the event that tells of it."""

_EVENT: Final = "text text timestamptz text text int"
"""What all events of a statement have in common."""

_BY_PLACE: Final = "text uuid text bigint bytea text text bigint"
"""A ledger row whose record is told by its place."""


@dataclass(slots=True)
class Writes:
    """What one statement writes. *records*, each once, with the *events* that tell of them, at the same places; events
    differ in their id, their subject (model:id) and their data alone. With a record go its *ledger* rows, *conflicts*,
    *exits*, *bases* and *queue*. *unchanged*: ledger rows of operations that change no record; with them go their
    conflicts. *audit*: goes with any record. *acks*: go in any case."""

    records: list[RecordRow] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    ledger: list[LedgerRow] = field(default_factory=list)
    unchanged: list[LedgerRow] = field(default_factory=list)
    conflicts: list[ConflictRow] = field(default_factory=list)
    exits: list[ExitRow] = field(default_factory=list)
    bases: list[BaseRow] = field(default_factory=list)
    queue: list[QueueRow] = field(default_factory=list)
    acks: list[AckRow] = field(default_factory=list)
    audit: list[Logged] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.records or self.unchanged or self.acks)


@dataclass(slots=True)
class Written:
    """What was written. *outbox*: event id -> its number there: the records of these events were written, the others
    have changed meanwhile. *unchanged*: of the operations that change no record, those that the ledger has taken; it
    knew the others. *conflicts*: (user, operation) -> the row of its values."""

    outbox: dict[str, int] = field(default_factory=dict)
    unchanged: set[tuple[str, UUID]] = field(default_factory=set)
    conflicts: dict[tuple[str, UUID], int] = field(default_factory=dict)


class Overtaken(FerrymanError):
    """Nothing was written: an operation that changes a record is in the ledger by now. Read, and decide again."""


async def write(conn: Pool | Connection, writes: Writes) -> Written:
    """Write what still can be. Raises: Overtaken; as the store."""
    statement, written = _Statement(writes), Written()
    try:
        rows = await conn.fetch(statement.text(), *statement.arguments)
    except UniqueViolationError as exc:
        if exc.table_name == "sync_ops":
            raise Overtaken("an operation came twice at once") from None
        raise
    for kind, user_id, op_id, number in rows:
        if kind == "o":
            written.outbox[user_id] = number
        elif kind == "n":
            written.unchanged.add((user_id, op_id))
        elif kind == "k":
            written.conflicts[user_id, op_id] = number
    return written


class _Statement:
    """The statement with the parts that *writes* needs: the server plans and starts each of them."""

    def __init__(self, writes: Writes) -> None:
        self.arguments: list[Any] = [len(writes.records)]
        self._parts = [_CLOCK.format(n="$1::bigint")]
        self._told = ["SELECT 'c', '', NULL::uuid, first FROM c"]
        if writes.records:
            self._add_records(writes)
        if writes.unchanged:
            self._add(_UNCHANGED, LedgerRow, writes.unchanged)
            self._told.append("SELECT 'n', user_id, op_id, 0 FROM n")
        if writes.conflicts:
            self._add_conflicts(writes)
        if writes.acks:
            self._add(_ACKS, AckRow, writes.acks)

    def text(self) -> str:
        """Its SQL."""
        return f"WITH {', '.join(self._parts)} {' UNION ALL '.join(self._told)}"

    def _add_records(self, writes: Writes) -> None:
        ids, *common, data = _told(writes.events)
        rows = [*zip(*writes.records, strict=True), ids, data]
        self._parts += [_GIVEN.format(args=self._columns(rows, _RECORD)), _RECORDS]
        self._parts.append(_OUTBOX.format(args=self._scalars(common, _EVENT)))
        self._told.append("SELECT 'o', id, NULL, seq FROM o")
        if writes.ledger:
            self._parts.append(_LEDGER.format(args=self._columns(_by_place(writes), _BY_PLACE)))
        for part, kind, of in (
            (_EXITS, ExitRow, writes.exits),
            (_BASES, BaseRow, writes.bases),
            (_QUEUE, QueueRow, writes.queue),
            (_AUDIT, Logged, [(*entry[:3], orjson.dumps(entry.detail).decode()) for entry in writes.audit]),
        ):
            if of:
                self._add(part, kind, of)
        if any(row.erased for row in writes.records):
            self._parts.append(_FORGOTTEN)

    def _add_conflicts(self, writes: Writes) -> None:
        taken = (("l", writes.ledger), ("n", writes.unchanged))
        done = [f"SELECT user_id, op_id FROM {name}" for name, rows in taken if rows]  # noqa: S608 - constants only
        columns: list[Any] = list(map(list, zip(*writes.conflicts, strict=True)))
        fields = ConflictRow._fields.index("fields")
        columns[fields] = [_BETWEEN.join(row.fields) for row in writes.conflicts]  # arrays of arrays have one length
        args = self._arguments(columns, TYPES[ConflictRow])
        self._parts.append(_MET.format(args=args, done=" UNION ALL ".join(done)))
        self._told += ["SELECT 'k', user_id, op_id, id FROM u", "SELECT 'k', user_id, op_id, id FROM k"]

    def _add(self, part: str, kind: type[Any], rows: Sequence[Any]) -> None:
        """Add *part* with *rows* of *kind*."""
        args = self._arguments(list(map(list, zip(*rows, strict=True))), TYPES[kind])
        self._parts.append(part.format(args=args))

    def _arguments(self, columns: Sequence[Any], types: str) -> str:
        """The text that stands for *columns*, which become arguments."""
        first = len(self.arguments) + 1
        self.arguments += columns
        return ", ".join(f"${n}::{type}[]" for n, type in enumerate(types.split(), first))

    def _columns(self, columns: Sequence[Sequence[Any]], types: str) -> str:
        """As `_arguments`, of long columns: each becomes one text, which is cheaper to send."""
        first, of = len(self.arguments) + 1, types.split()
        self.arguments += map(column, columns, of)
        return ", ".join(map(split, count(first), of))

    def _scalars(self, values: Sequence[Any], types: str) -> str:
        """The text that stands for *values*, one of each type."""
        first = len(self.arguments) + 1
        self.arguments += values
        return ", ".join(f"${n}::{type}" for n, type in enumerate(types.split(), first))


def _told(events: Sequence[Event]) -> tuple[Any, ...]:
    """Their ids, what all have in common, and their data."""
    one = events[0]
    common = (one.type, one.source, one.time, one.traceparent, one.causationid, one.schemaversion)
    return [event.id for event in events], *common, [event.data.decode() for event in events]


def _by_place(writes: Writes) -> list[Sequence[Any]]:
    """The columns of the ledger rows, with the places of their records."""
    places = {(row.model, row.record_id): n for n, row in enumerate(writes.records, 1)}
    users, ids, replicas, models, records, *rest = zip(*writes.ledger, strict=True)
    return [users, ids, replicas, [places[key] for key in zip(models, records, strict=True)], *rest]
