"""How many operations, conflicts and records there are, for everybody or for those who see a part of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from adapters.postgres.pool import Pool
from schemas.principals import Principal


class Counts(NamedTuple):
    """*oldest*: when the oldest pending operation was written. *conflicts*: that wait for a person here;
    *upstream_conflicts*: at the upstream. *synced*, *applied*: today, at the upstream and here. *pushed*: when a
    replica has last pushed here."""

    pending: int
    oldest: datetime | None
    failed: int
    conflicts: int
    upstream_conflicts: int
    synced: int
    applied: int
    pushed: datetime | None


class _Part(NamedTuple):
    """What is counted of it all: conditions of the rows `q` of the queue and of the conflicts; of the ledger; of the
    replicas."""

    rows: str
    ledger: str
    replicas: str


_ALL: Final = _Part("true", "true", "true")
_OF_PERSON: Final = _Part("q.user_id = $2", "q.user_id = $2", "principal = $3")
# through an edge many people write: its part is what is about records that it carries, and what its replicas pushed
_OF_EDGE: Final = _Part(
    "EXISTS (SELECT FROM records o WHERE o.model = q.model AND o.record_id = q.record_id"
    " AND (o.owner_id = ANY ($3::text[]) OR o.branch = $4::text))",
    "q.replica IN (SELECT replica FROM sync_replicas WHERE principal = $2)",
    "principal = $2",
)

# a part for each index: together they cost the same whatever has been synced before
_COUNTS: Final = """
SELECT
  (SELECT count(*) FROM sync_queue q WHERE state = 'pending' AND {rows}) AS pending,
  (SELECT created_at FROM sync_queue q WHERE state = 'pending' AND {rows} ORDER BY id LIMIT 1) AS oldest,
  (SELECT count(*) FROM sync_queue q WHERE state = 'failed' AND {rows}) AS failed,
  (SELECT count(*) FROM sync_conflicts q WHERE decision IS NULL AND {rows}) AS conflicts,
  (SELECT count(*) FROM sync_queue q JOIN records r USING (model, record_id)
   WHERE q.state = 'conflict' AND r.up_version <= q.acked_version AND {rows}) AS upstream_conflicts,
  (SELECT count(*) FROM sync_queue q WHERE synced_at >= $1 AND {rows}) AS synced,
  (SELECT count(*) FROM sync_ops q WHERE at >= $1 AND {ledger}) AS applied,
  (SELECT max(pushed_at) FROM sync_replicas WHERE {replicas}) AS pushed
"""

_RECORDS: Final = "SELECT count(*) FROM records WHERE NOT deleted"
# no number is above the clock's: that it is said makes the planner expect few rows, and read them by their index
_OF_READER: Final = """
SELECT (
  SELECT coalesce(sum((
    SELECT count(*) FROM records
    WHERE owner_id = reader.name AND seq > 0 AND seq <= (SELECT seq FROM sync_clock) AND NOT deleted
  )), 0)
  FROM unnest($1::text[]) AS reader (name)
) + (
  SELECT count(*) FROM records
  WHERE branch = $2::text AND seq > 0 AND seq <= (SELECT seq FROM sync_clock) AND NOT deleted
    AND (owner_id = ANY ($1)) IS NOT TRUE
)
"""


async def counts(pool: Pool, since: datetime, reader: Principal | None = None) -> Counts:
    """What there is to tell. *since*: when today began. *reader*: what concerns them alone; None: all."""
    part, given = _part(reader)
    row = await pool.fetchrow(_COUNTS.format(**part._asdict()), since, *given)
    assert row is not None
    return Counts(*row)


async def count_records(pool: Pool, reader: Principal | None = None) -> int:
    """How many records there are that are not deleted. *reader*: that they see; None: all."""
    if reader is None or reader.sees_all:
        return int(await pool.fetchval(_RECORDS))
    return int(await pool.fetchval(_OF_READER, *_seen(reader)))


def _part(reader: Principal | None) -> tuple[_Part, Sequence[Any]]:
    """What concerns *reader*, and the arguments that say who that is."""
    if reader is None or reader.sees_all:
        return _ALL, ()
    if reader.kind == "edge":
        return _OF_EDGE, (reader.key, *_seen(reader))
    return _OF_PERSON, (reader.name, reader.key)


def _seen(reader: Principal) -> tuple[list[str], str | None]:
    """The owners and the branch whose records *reader* sees."""
    return ([reader.name], None) if reader.kind == "user" else (sorted(reader.owners), reader.branch)
