"""What a check of the records looks at: each record with what the ledger says of it, and the upstream's rows as this
edge has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from adapters.postgres.pool import Pool
from schemas.records.operation import Key

STEP: Final = 1000
"""Records that are read at once."""


class CheckedRow(NamedTuple):
    """A record. *head*: the last number of the clock; *ledger*: the highest version that an operation of the ledger is
    said to have made of it; None: it names none."""

    model: str
    record_id: str
    version: int
    prev: int
    seq: int
    head: int
    deleted: bool
    is_dated: bool
    erased: bool
    data: str
    stamps: str
    ledger: int | None


class CopiedRow(NamedTuple):
    """The upstream's row as this edge has it. *data*: as JSON text."""

    model: str
    record_id: str
    up_version: int | None
    deleted: bool
    owner_id: str | None
    data: str | None


_AFTER: Final = """
SELECT r.model, r.record_id, r.version, r.prev, r.seq, c.seq AS head, r.deleted, r.deleted_at IS NOT NULL AS is_dated,
       r.erased, r.data::text AS data, r.stamps, l.version AS ledger
FROM sync_clock c CROSS JOIN LATERAL (
    SELECT * FROM records WHERE (model, record_id) > ($1, $2) ORDER BY model, record_id LIMIT $3
) r LEFT JOIN LATERAL (
    SELECT max(o.version) AS version FROM sync_ops o WHERE o.model = r.model AND o.record_id = r.record_id
) l ON true
WHERE c.one ORDER BY r.model, r.record_id
"""

_TWICE: Final = "SELECT count(*) FROM (SELECT seq FROM records GROUP BY seq HAVING count(*) > 1) AS twice"
_CLOCK: Final = """
SELECT c.horizon > c.seq OR EXISTS (SELECT FROM sync_exits WHERE seq > c.seq) OR
       EXISTS (SELECT FROM sync_marks WHERE seq > c.seq)
FROM sync_clock c WHERE c.one
"""

_COPIED: Final = """
SELECT model, record_id, coalesce(b.up_version, r.up_version) AS up_version,
       CASE WHEN b.model IS NULL THEN r.deleted ELSE b.deleted END AS deleted,
       CASE WHEN b.model IS NULL THEN r.owner_id ELSE b.owner_id END AS owner_id,
       (CASE WHEN b.model IS NULL THEN r.data ELSE b.data END)::text AS data
FROM unnest($1::text[], $2::text[]) AS t (model, record_id)
JOIN records r USING (model, record_id) LEFT JOIN sync_base b USING (model, record_id)
"""
_OF_UPSTREAM: Final = """
SELECT model, record_id FROM records WHERE (model, record_id) > ($1, $2) AND up_version > 0 AND NOT deleted
ORDER BY model, record_id LIMIT $3
"""


async def after(pool: Pool, model: str, record_id: str) -> list[CheckedRow]:
    """The next records after this one, STEP at most, by model and id."""
    return [CheckedRow(*row) for row in await pool.fetch(_AFTER, model, record_id, STEP)]


async def numbers_twice(pool: Pool) -> int:
    """How many numbers more than one record has."""
    return int(await pool.fetchval(_TWICE, timeout=60))


async def clock_is_behind(pool: Pool) -> bool:
    """Whether a number is used that the clock has not given."""
    return bool(await pool.fetchval(_CLOCK))


async def copied(pool: Pool, keys: Sequence[Key]) -> list[CopiedRow]:
    """The upstream's rows of *keys* as this edge has them; those that it knows nothing of are left out."""
    models, ids = [model for model, _ in keys], [id for _, id in keys]
    return [CopiedRow(*row) for row in await pool.fetch(_COPIED, models, ids)]


async def of_upstream(pool: Pool, model: str, record_id: str) -> list[Key]:
    """The next records after this one that the upstream has, as this edge knows, STEP at most."""
    return [(row[0], row[1]) for row in await pool.fetch(_OF_UPSTREAM, model, record_id, STEP)]
