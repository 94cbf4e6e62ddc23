"""Conflicts of records as people read and decide them, each with the record as it stands now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from adapters.postgres.pool import Connection, Pool, Record
from schemas.principals import audiences_of
from schemas.records.stamps import Stamps, loaded

# A conflict of a record that its author did not know (of version 0 then) belongs to its author, and tells the owner of
# such a record nothing; nor does it tell its author of the record.
_CONFLICTS: Final = """
SELECT c.id, c.model, c.record_id, c.user_id, c.op_id, c.operation, c.owner_id, c.base_version, c.version,
  c.base::text AS base, c.ours::text AS ours, c.theirs::text AS theirs, c.fields, c.strategy, c.decision, c.decided_at,
  c.decided_by, c.created_at, r.version AS now_version, r.owner_id AS now_owner, r.branch AS now_branch, r.deleted,
  r.erased, r.changed_at, r.data::text AS now_data, r.stamps::text AS now_stamps
FROM sync_conflicts c
LEFT JOIN LATERAL (SELECT * FROM records WHERE model = c.model AND record_id = c.record_id LIMIT 1) r ON true
WHERE {which} AND ($1::text[] IS NULL OR CASE WHEN r.model IS NULL OR c.version = 0
  THEN 'o:' || c.user_id = ANY ($1)
  ELSE 'o:' || r.owner_id = ANY ($1) OR 'b:' || r.branch = ANY ($1) END)
"""
_PAGE: Final = """
AND ($2::text IS NULL OR c.model = $2) AND ($3::bigint IS NULL OR c.id < $3) ORDER BY c.id DESC LIMIT $4
"""
_ONE: Final = _CONFLICTS.format(which="c.id = $2")

_LOCK: Final = "SELECT pg_try_advisory_xact_lock(hashtext('ferryman.conflict'), $1)"

# What the operation brought may be a later value by now: then it is that one which waits.
_DECIDE: Final = """
UPDATE sync_conflicts SET decision = $3, decided_at = now(), decided_by = $4
WHERE id = $1 AND op_id = $2 AND decision IS NOT DISTINCT FROM $5 RETURNING id
"""


class Wanted(NamedTuple):
    """Which conflicts: *open* ones alone, of one *model*, at most *limit*, with ids below *after*."""

    open: bool = False
    model: str | None = None
    limit: int = 100
    after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Now:
    """The record of a conflict as it stands. A deleted one has the data that it had. *stamps*: when each field was
    changed."""

    version: int
    owner_id: str | None
    branch: str | None
    deleted: bool
    erased: bool
    changed_at: datetime
    data: Mapping[str, Any]
    stamps: Stamps


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StoredConflict:
    """A row of `sync_conflicts`: *ours* was stored, *theirs* came with the operation; None: deleted, or not known.
    *decision* None: open. *now*: the record; None: there is none that its reader may know of."""

    id: int
    model: str
    record_id: str
    user_id: str
    op_id: UUID
    operation: str
    owner_id: str | None
    base_version: int | None
    version: int | None
    base: Mapping[str, Any] | None
    ours: Mapping[str, Any] | None
    theirs: Mapping[str, Any] | None
    fields: Sequence[str]
    strategy: str
    decision: str | None
    decided_at: datetime | None
    decided_by: str | None
    created_at: datetime
    now: Now | None


async def listed(pool: Pool, audiences: Sequence[str] | None, wanted: Wanted) -> list[StoredConflict]:
    """The conflicts that readers of *audiences* may see, the newest first. *audiences*: None: all."""
    given = audiences, wanted.model, wanted.after, wanted.limit
    return [_read(row, audiences) for row in await pool.fetch(query_of(wanted), *given)]


def query_of(wanted: Wanted) -> str:
    """The query of a page. Open conflicts are few among many, and have an index of their own."""
    which = "c.decision IS NULL" if wanted.open else "true"
    return _CONFLICTS.format(which=which) + _PAGE


async def find(pool: Pool, audiences: Sequence[str] | None, id: int) -> StoredConflict | None:
    """The conflict *id*, where readers of *audiences* may see it."""
    row = await pool.fetchrow(_ONE, audiences, id)
    return None if row is None else _read(row, audiences)


async def lock(conn: Connection, id: int) -> bool:
    """Keep others from deciding the conflict until the transaction ends; whether nobody else does. No row is locked:
    pushes go on meanwhile."""
    got: bool = await conn.fetchval(_LOCK, id % 2**31)
    return got


async def decide(conn: Connection, was: StoredConflict, decision: str, by: str) -> bool:
    """Keep what was decided; whether the conflict was still what it *was*."""
    return await conn.fetchval(_DECIDE, was.id, was.op_id, decision, by, was.decision) is not None


_NOW: Final = ("now_version", "now_owner", "now_branch", "deleted", "erased", "changed_at", "now_data", "now_stamps")


def _read(row: Record, audiences: Sequence[str] | None) -> StoredConflict:
    said = {name: value for name, value in row.items() if name not in _NOW}
    now = _now(row)
    if audiences is not None and (now is None or audiences_of(now.owner_id, now.branch).isdisjoint(audiences)):
        said["owner_id"], now = None, None
    for name in ("base", "ours", "theirs"):
        said[name] = None if said[name] is None else orjson.loads(said[name])
    return StoredConflict(**said, now=now)


def _now(row: Record) -> Now | None:
    if row["now_version"] is None:
        return None
    return Now(
        version=row["now_version"],
        owner_id=row["now_owner"],
        branch=row["now_branch"],
        deleted=row["deleted"],
        erased=row["erased"],
        changed_at=row["changed_at"],
        data=orjson.loads(row["now_data"]),
        stamps=loaded(row["now_stamps"]),
    )
