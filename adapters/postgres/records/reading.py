"""What deciding reads: in one snapshot, without locks. What changes afterwards makes the write lose, not the data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import count
from typing import Final, NamedTuple
from uuid import UUID

from adapters.postgres.pool import Pool, Record
from adapters.postgres.records.columns import column, split

_BETWEEN: Final = "\x1f"
"""Between audiences: no name holds it, as it is not printable."""

# every look-up is LATERAL with a limit: however few rows a table had when the plan was made, it goes by the index. The
# clock is a subquery, as in the statement that writes
_WANTED: Final = ("text", "text", "text", "uuid", "text", "text")
_READ: Final = f"""
SELECT (SELECT feed FROM sync_clock), l.digest, l.result, l.decision, l.version AS told,
       r.version, r.owner_id, r.branch, r.deleted, r.erased, r.data::text, r.stamps, r.changed_at, r.up_version,
       x.formerly, p.principal, p.ack, p.ack_before, p.op_ids
FROM unnest({", ".join(map(split, count(1), _WANTED))}) WITH ORDINALITY
  AS g (model, record_id, user_id, op_id, audiences, replica, place)
LEFT JOIN LATERAL (
  SELECT digest, result, decision, version FROM sync_ops WHERE user_id = g.user_id AND op_id = g.op_id LIMIT 1
) l ON true
LEFT JOIN LATERAL (SELECT * FROM records WHERE model = g.model AND record_id = g.record_id LIMIT 1) r ON true
LEFT JOIN LATERAL (
  SELECT true AS formerly FROM sync_exits
  WHERE audience = ANY (string_to_array(g.audiences, E'\\x1f')) AND model = g.model AND record_id = g.record_id LIMIT 1
) x ON true
LEFT JOIN LATERAL (
  SELECT principal, ack, ack_before, op_ids FROM sync_replicas WHERE replica = g.replica LIMIT 1
) p ON true
ORDER BY g.place
"""  # noqa: S608 - constants only
_OPEN: Final = """
SELECT k.id, k.user_id, k.model, k.record_id, k.fields, k.theirs::text
FROM unnest($1::text[], $2::text[], $3::text[]) AS g (user_id, model, record_id)
JOIN LATERAL (
  SELECT * FROM sync_conflicts
  WHERE model = g.model AND record_id = g.record_id AND user_id = g.user_id AND decision IS NULL
  ORDER BY id DESC LIMIT 50
) k ON true ORDER BY k.id
"""
_CONFLICTS: Final = """
SELECT COALESCE(
  (SELECT id FROM sync_conflicts WHERE user_id = g.user_id AND op_id = g.op_id),
  (SELECT id FROM sync_conflicts WHERE model = g.model AND record_id = g.record_id AND user_id = g.user_id
   ORDER BY id DESC LIMIT 1))
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[]) WITH ORDINALITY
  AS g (user_id, op_id, model, record_id, place) ORDER BY g.place
"""


class Wanted(NamedTuple):
    """A question about an operation, or about a replica alone. *audiences*: of its principal; None: of one who reads
    everything."""

    model: str | None
    record_id: str | None
    user_id: str | None
    op_id: UUID | None
    audiences: frozenset[str] | None
    replica: str | None


class StoredRow(NamedTuple):
    """A record. *data*, *stamps*: JSON texts."""

    version: int
    owner_id: str | None
    branch: str | None
    deleted: bool
    erased: bool
    data: str
    stamps: str
    changed_at: datetime
    up_version: int | None


class Told(NamedTuple):
    """What the ledger says of an operation."""

    digest: bytes
    result: str
    decision: str | None
    version: int | None


class ReplicaRow(NamedTuple):
    """Whose a replica is, the two acknowledgements that it may send, and the operations of its last push."""

    principal: str
    ack: UUID | None
    ack_before: UUID | None
    op_ids: list[UUID]


class Seen(NamedTuple):
    """What there is. *feed*: of this server. *formerly*: its principal has read the record before."""

    feed: UUID
    told: Told | None
    stored: StoredRow | None
    formerly: bool
    replica: ReplicaRow | None


class OpenConflict(NamedTuple):
    """A conflict that waits for a person. *theirs*: a JSON text."""

    id: int
    user_id: str
    model: str
    record_id: str
    fields: list[str]
    theirs: str | None


async def read(pool: Pool, wanted: Sequence[Wanted]) -> list[Seen]:
    """What there is about each of *wanted*, in their order."""
    models, ids, users, ops, audiences, replicas = zip(*wanted, strict=True)
    texts = {one: _BETWEEN.join(one) for one in set(audiences) if one is not None}
    readers = [None if one is None else texts[one] for one in audiences]
    columns = (models, ids, users, ops, readers, replicas)
    rows = await pool.fetch(_READ, *map(column, columns, _WANTED))
    return [_seen(row) for row in rows]


def _seen(row: Record) -> Seen:
    values = tuple(row)  # by place: a row has many columns, and there are many rows
    return Seen(
        feed=values[0],
        told=None if values[1] is None else Told(*values[1:5]),
        stored=None if values[5] is None else StoredRow(*values[5:14]),
        formerly=values[14] is not None,
        replica=None if values[15] is None else ReplicaRow(*values[15:19]),
    )


async def open_conflicts(pool: Pool, of: Sequence[tuple[str, str, str]]) -> list[OpenConflict]:
    """Those that wait for a person, of each (user, model, record id), the oldest first."""
    rows = await pool.fetch(_OPEN, *map(list, zip(*of, strict=True)))
    return [OpenConflict(*row) for row in rows]


async def conflict_ids(pool: Pool, of: Sequence[tuple[str, UUID, str, str]]) -> list[int | None]:
    """The conflict that holds the values of each (user, operation, model, record id)."""
    return [row[0] for row in await pool.fetch(_CONFLICTS, *map(list, zip(*of, strict=True)))]
