"""The phone lines of the people whom records are about, and the records of a person. In batches; every write is
harmless to repeat, and takes its row locks in the order of model and id.

A line belongs to whoever has it in `contact_identities`: nothing here changes where contacts become one, or two again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection, Pool
from schemas.records.operation import Key

_FIND: Final = """
SELECT given.place, r.seq, r.branch, r.deleted, r.data ->> given.field AS phone, p.seq = r.seq AS known
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS given (model, record_id, field, place)
CROSS JOIN LATERAL (
  SELECT seq, branch, deleted, data FROM records
  WHERE model = given.model AND record_id = given.record_id LIMIT 1
) r
LEFT JOIN LATERAL (
  SELECT seq FROM record_people WHERE model = given.model AND record_id = given.record_id LIMIT 1
) p ON true
"""
_KEEP: Final = """
INSERT INTO record_people AS p (model, record_id, seq, line)
SELECT model, record_id, seq, line
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS given (model, record_id, seq, line)
ORDER BY model, record_id
ON CONFLICT (model, record_id) DO UPDATE SET seq = excluded.seq, line = excluded.line
WHERE p.seq < excluded.seq
"""
# A record may be written anew while its end is handled: what is there then has an event of its own.
_DROP: Final = """
WITH locked AS MATERIALIZED (
  SELECT p.model, p.record_id FROM unnest($1::text[], $2::text[]) AS given (model, record_id)
  JOIN record_people p USING (model, record_id)
  WHERE NOT EXISTS (SELECT FROM records r WHERE r.model = p.model AND r.record_id = p.record_id)
  ORDER BY p.model, p.record_id FOR UPDATE OF p)
DELETE FROM record_people p USING locked WHERE (p.model, p.record_id) = (locked.model, locked.record_id)
"""
_OF_PERSON: Final = """
SELECT r.model, r.record_id, r.version, r.owner_id, r.branch, r.changed_at
FROM record_people p CROSS JOIN LATERAL (
  SELECT * FROM records WHERE model = p.model AND record_id = p.record_id AND NOT deleted LIMIT 1
) r
WHERE p.line = ANY ($1::text[])
ORDER BY r.changed_at DESC, r.model, r.record_id LIMIT $2
"""


class Asked(NamedTuple):
    """A question about a record. *field*: the field of its model that holds its person's phone; "": none does."""

    model: str
    record_id: str
    field: str


@dataclass(frozen=True, slots=True, repr=False)
class Found:
    """A record as it stands. *phone*: as its author has written it. *known*: it was looked at since it has changed
    last."""

    seq: int
    branch: str | None
    deleted: bool
    phone: str | None
    known: bool


class Line(NamedTuple):
    """The phone line of the person whom a record is about, as of its change *seq*; None: it names none."""

    model: str
    record_id: str
    seq: int
    line: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRecord:
    """A record of a person, without what it says."""

    model: str
    record_id: str
    version: int
    owner_id: str | None
    branch: str | None
    changed_at: datetime


async def find(pool: Pool, asked: Sequence[Asked]) -> list[Found | None]:
    """The records that are *asked* for, in that order; None: there is none, not even a deleted one."""
    found: list[Found | None] = [None] * len(asked)
    for row in await pool.fetch(_FIND, *map(list, zip(*asked, strict=True))):
        known = bool(row["known"])
        found[row["place"] - 1] = Found(row["seq"], row["branch"], row["deleted"], row["phone"], known)
    return found


async def keep(conn: Connection, lines: Sequence[Line]) -> None:
    """Keep the newest of *lines* of each record; what is known of a later change of it stays."""
    newest: dict[Key, Line] = {}
    for one in lines:
        key = one.model, one.record_id
        if key not in newest or newest[key].seq < one.seq:
            newest[key] = one
    if newest:
        await conn.execute(_KEEP, *map(list, zip(*newest.values(), strict=True)))


async def drop(conn: Connection, keys: Sequence[Key]) -> None:
    """Forget the lines of the records with these *keys* that are not there any more."""
    if keys:
        await conn.execute(_DROP, [model for model, _ in keys], [record_id for _, record_id in keys])


async def of_person(pool: Pool, lines: Sequence[str], limit: int) -> list[PersonRecord]:
    """The records about the person with these phone lines, those that were changed last first."""
    return [PersonRecord(**dict(row)) for row in await pool.fetch(_OF_PERSON, lines, limit)]
