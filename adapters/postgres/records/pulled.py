"""The one statement that writes what has come from an edge's upstream, and what is read before it.

It compares and swaps twice. The step of `sync_upstream` grows with each write of this side: two processes that exchange
with the upstream at once cannot mix their halves. The version of a record grows with each write of anybody: a row that
was written here meanwhile is left out, with all that belongs to it, for the caller to make it anew. It takes the clock
first, as every statement that writes records (see `writing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from adapters.postgres.bus.events import COLUMNS, arrays
from adapters.postgres.pool import Pool
from adapters.postgres.records.reading import StoredRow
from schemas.envelope import Event
from schemas.records.operation import Key

_STATES: Final = """
SELECT g.model, g.record_id,
       r.version, r.owner_id, r.branch, r.deleted, r.erased, r.data::text, r.stamps, r.changed_at, r.up_version,
       b.up_version, b.deleted, b.owner_id, b.branch, b.data::text, b.stamps, b.model IS NOT NULL,
       q.ops
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS g (model, record_id, place)
LEFT JOIN LATERAL (SELECT * FROM records WHERE model = g.model AND record_id = g.record_id LIMIT 1) r ON true
LEFT JOIN LATERAL (SELECT * FROM sync_base WHERE model = g.model AND record_id = g.record_id LIMIT 1) b ON true
LEFT JOIN LATERAL (
  SELECT array_agg(ROW (o.op_id, o.operation, o.data::text, o.user_id, o.state, o.acked_version, o.changed_at, o.tick,
                        o.origin, o.settled, o.base_version, o.retry_count) ORDER BY o.id) AS ops
  FROM (SELECT * FROM sync_queue WHERE model = g.model AND record_id = g.record_id {which} ORDER BY id) o
) q ON true
ORDER BY g.place
"""

_OPEN_STATES: Final = _STATES.format(which="AND NOT settled")  # by the index of those alone
_ALL_STATES: Final = _STATES.format(which="")

_APPLY: Final = f"""
WITH s AS (SELECT step FROM sync_upstream WHERE step = $1 FOR UPDATE),
c AS (UPDATE sync_clock SET seq = seq + $2 WHERE $3 AND EXISTS (SELECT FROM s) RETURNING seq - $2 AS first),
i AS (
  SELECT * FROM unnest($4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::bool[],
                       $11::bool[], $12::text[], $13::text[], $14::bigint[], $15::timestamptz[], $16::bigint[])
    AS t (model, record_id, expected, version, owner_id, branch, deleted, erased, data, stamps, up_version, changed_at,
          n)),
w AS (
  INSERT INTO records AS r (model, record_id, version, prev, seq, owner_id, branch, deleted, erased, data, stamps,
                            up_version, changed_at, deleted_at)
  SELECT model, record_id, version, expected, CASE WHEN n > 0 THEN first + n ELSE 0 END, owner_id, branch, deleted,
         erased, data::jsonb, stamps, up_version, changed_at, CASE WHEN deleted THEN now() END
  FROM c CROSS JOIN i
  ON CONFLICT (model, record_id) DO UPDATE SET
    version = excluded.version, prev = CASE WHEN excluded.seq > 0 THEN excluded.prev ELSE r.prev END,
    seq = CASE WHEN excluded.seq > 0 THEN excluded.seq ELSE r.seq END, owner_id = excluded.owner_id,
    branch = excluded.branch, deleted = excluded.deleted, erased = excluded.erased, data = excluded.data,
    stamps = excluded.stamps, up_version = excluded.up_version, changed_at = excluded.changed_at,
    deleted_at = CASE WHEN excluded.deleted THEN COALESCE(r.deleted_at, excluded.deleted_at) END,
    updated_at = CASE WHEN excluded.seq > 0 THEN now() ELSE r.updated_at END
  WHERE r.version = excluded.prev
  RETURNING r.model, r.record_id, r.seq),
b AS (
  INSERT INTO sync_base (model, record_id, up_version, deleted, owner_id, branch, data, stamps)
  SELECT model, record_id, t.up_version, t.deleted, t.owner_id, t.branch, t.data::jsonb, t.stamps
  FROM w JOIN unnest($17::text[], $18::text[], $19::bigint[], $20::bool[], $21::text[], $22::text[], $23::text[],
                     $24::text[]) AS t (model, record_id, up_version, deleted, owner_id, branch, data, stamps)
    USING (model, record_id)
  ON CONFLICT (model, record_id) DO UPDATE SET up_version = excluded.up_version, deleted = excluded.deleted,
    owner_id = excluded.owner_id, branch = excluded.branch, data = excluded.data, stamps = excluded.stamps),
d AS (
  DELETE FROM sync_base k USING w, unnest($25::text[], $26::text[]) AS t (model, record_id)
  WHERE (k.model, k.record_id) = (w.model, w.record_id) AND (t.model, t.record_id) = (w.model, w.record_id)),
q AS (
  UPDATE sync_queue k SET state = t.state, settled = t.settled, acked_version = t.acked_version, error = t.error,
    reason = t.reason, retry_count = t.retry_count, next_at = COALESCE(t.next_at, k.next_at),
    base_version = t.base_version, changed_at = t.changed_at,
    synced_at = CASE WHEN t.state IN ('synced', 'conflict') THEN COALESCE(k.synced_at, now()) END
  FROM s, unnest($27::uuid[], $28::text[], $29::bool[], $30::bigint[], $31::text[], $32::text[], $33::int[],
                 $34::timestamptz[], $35::bigint[], $36::timestamptz[], $37::bool[])
    AS t (op_id, state, settled, acked_version, error, reason, retry_count, next_at, base_version, changed_at, bound)
  WHERE k.op_id = t.op_id
    AND (NOT t.bound OR EXISTS (SELECT FROM w WHERE (w.model, w.record_id) = (k.model, k.record_id)))
  RETURNING k.op_id),
x AS (
  INSERT INTO sync_exits (audience, model, record_id, seq)
  SELECT audience, model, record_id, seq
  FROM w JOIN unnest($38::text[], $39::text[], $40::text[]) AS t (audience, model, record_id) USING (model, record_id)
  ON CONFLICT (audience, model, record_id) DO UPDATE SET seq = excluded.seq, at = now()),
k AS (
  INSERT INTO sync_conflicts (user_id, op_id, operation, model, record_id, owner_id, base_version, version, ours,
    theirs, fields, strategy, decision, decided_at, decided_by)
  SELECT user_id, op_id, 'UPDATE', model, record_id, owner_id, base_version, version, ours::jsonb, theirs::jsonb,
         string_to_array(fields, E'\\x1f'), 'restored', 'gone', now(), 'rule'
  FROM w JOIN unnest($41::text[], $42::uuid[], $43::text[], $44::text[], $45::text[], $46::bigint[], $47::bigint[],
                     $48::text[], $49::text[], $50::text[])
    AS t (user_id, op_id, model, record_id, owner_id, base_version, version, ours, theirs, fields)
    USING (model, record_id)
  ON CONFLICT DO NOTHING),
o AS (
  INSERT INTO outbox ({COLUMNS})
  SELECT id, type, source, subject, time, event, traceparent, causationid, schemaversion
  FROM unnest($51::text[], $52::text[], $53::text[], $54::text[], $55::timestamptz[], $56::text[], $57::text[],
              $58::text[], $59::int[], $60::text[], $61::text[])
    AS t (id, type, source, subject, time, event, traceparent, causationid, schemaversion, model, record_id)
  JOIN w USING (model, record_id) ORDER BY seq
  RETURNING id, seq),
v AS (
  INSERT INTO sync_seen (model, record_id)
  SELECT model, record_id FROM s CROSS JOIN unnest($62::text[], $63::text[]) AS t (model, record_id)
  ON CONFLICT DO NOTHING),
f AS (
  UPDATE sync_upstream SET step = sync_upstream.step + 1, ack = COALESCE($64, ack),
    cursor = CASE WHEN whole THEN COALESCE($65, cursor) ELSE cursor END,
    rebuilding = CASE WHEN whole THEN COALESCE($66, rebuilding) ELSE rebuilding END
  FROM s, (SELECT (SELECT count(*) FROM w) = (SELECT count(*) FROM i) AS whole) AS t
  WHERE sync_upstream.step = s.step
  RETURNING 1)
SELECT EXISTS (SELECT FROM f) AS moved,
       ARRAY (SELECT ROW (model, record_id) FROM w) AS won,
       ARRAY (SELECT ROW (id, seq) FROM o ORDER BY seq) AS told
"""  # noqa: S608 - constants only


class ThereRow(NamedTuple):
    """A record as the upstream has it, while operations of ours on it are open. *data*, *stamps*: JSON texts; None: it
    is not known to have the record."""

    up_version: int
    deleted: bool
    owner_id: str | None
    branch: str | None
    data: str | None
    stamps: str | None


class OpRow(NamedTuple):
    """An operation of ours that the upstream's row does not hold yet. *data*: a JSON text."""

    op_id: UUID
    operation: str
    data: str | None
    user_id: str
    state: str
    acked_version: int | None
    changed_at: datetime
    tick: int
    origin: str
    settled: bool
    base_version: int
    retry_count: int


class State(NamedTuple):
    """A record, what the upstream has of it, and our operations on it, oldest first."""

    key: Key
    here: StoredRow | None
    there: ThereRow | None
    ops: tuple[OpRow, ...]


class ViewRow(NamedTuple):
    """A record's new state here. *expected*: the version that was read, 0 for none. *visible*: whether anybody sees a
    difference: then it gets a place in the feed."""

    key: Key
    expected: int
    version: int
    owner_id: str | None
    branch: str | None
    deleted: bool
    erased: bool
    data: str
    stamps: str
    up_version: int | None
    changed_at: datetime
    visible: bool


class OpChange(NamedTuple):
    """An operation's new state. *bound*: only together with its record's row. *next_at*: None: as it was."""

    op_id: UUID
    state: str
    settled: bool
    acked_version: int | None
    error: str | None
    reason: str | None
    retry_count: int
    next_at: datetime | None
    base_version: int
    changed_at: datetime
    bound: bool


class LostRow(NamedTuple):
    """Values that the upstream has lost and that were not ours to bring back. *ours*, *theirs*: JSON texts."""

    user_id: str
    op_id: UUID
    key: Key
    owner_id: str | None
    base_version: int | None
    version: int | None
    ours: str | None
    theirs: str
    fields: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Writes:
    """What one statement writes. *bases*: None: the record has none from now on. *exits*: (audience, record).
    *events*: of the records that they are about. *seen*: records of a base that is built anew."""

    step: int
    views: Sequence[ViewRow] = ()
    bases: Sequence[tuple[Key, ThereRow | None]] = ()
    ops: Sequence[OpChange] = ()
    exits: Sequence[tuple[str, Key]] = ()
    lost: Sequence[LostRow] = ()
    events: Sequence[tuple[Key, Event]] = ()
    seen: Sequence[Key] = ()
    ack: str | None = None
    cursor: str | None = None
    rebuilding: str | None = None


class Written(NamedTuple):
    """*moved*: whether the step was still the one that was read; else nothing was written. *won*: the records that
    were. *told*: their events, with their numbers in the outbox."""

    moved: bool
    won: frozenset[Key]
    told: tuple[tuple[Event, int], ...]


async def states(pool: Pool, keys: Sequence[Key], *, settled: bool = False) -> list[State]:
    """How these records stand, in their order, all in one snapshot. *settled*: with the operations that the upstream's
    rows hold already."""
    query = _ALL_STATES if settled else _OPEN_STATES
    return [_state(tuple(row)) for row in await pool.fetch(query, *_columns(keys, 2))]


def _state(row: tuple[Any, ...]) -> State:
    return State(
        key=(row[0], row[1]),
        here=None if row[2] is None else StoredRow(*row[2:11]),
        there=ThereRow(*row[11:17]) if row[17] else None,
        ops=tuple(OpRow(*op) for op in row[18] or ()),
    )


async def write(pool: Pool, given: Writes) -> Written:
    """Write it all, as far as nobody was faster. Raises: as the store."""
    places, n = [], 0
    for view in given.views:
        n += view.visible
        places.append(n if view.visible else 0)
    row = await pool.fetchrow(
        _APPLY,
        given.step,
        n,
        bool(given.views),
        *_columns([(*v.key, *v[1:-1], place) for v, place in zip(given.views, places, strict=True)], 13),
        *_columns([(*key, *base) for key, base in given.bases if base is not None], 8),
        *_columns([key for key, base in given.bases if base is None], 2),
        *_columns(given.ops, 11),
        *_columns([(audience, *key) for audience, key in given.exits], 3),
        *_columns([(*x[:2], *x.key, *x[3:-1], "\x1f".join(x.fields)) for x in given.lost], 10),
        *arrays([event for _, event in given.events]),
        *_columns([key for key, _ in given.events], 2),
        *_columns(given.seen, 2),
        given.ack,
        given.cursor,
        given.rebuilding,
    )
    assert row is not None
    by_id = {event.id: event for _, event in given.events}
    told = tuple((by_id[id], seq) for id, seq in row["told"])
    return Written(row["moved"], frozenset((model, id) for model, id in row["won"]), told)


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
