"""The feed of changes: pages of it for one reader, and who is concerned by what is new.

The feed is the records themselves, each at the number of its last change, and beside them the exits: readers whom a
record has left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from adapters.postgres.pool import Pool, Record

ALL: Final = "*"
"""The audience of those who read every record."""

ROW_BYTES: Final = 250
"""What a change takes in an answer beside its data and stamps, at most nearly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A page that is asked for: of changes after *seq*, *limit* rows and *most_bytes* bytes at most.

    *owners*, *branch*: whose records the reader sees; None and None: all. *snap*: tombstones and exits up to this
    number are left out, since the reader has never had their records; None: those up to the head, as a reader begins.
    *models*: of these alone; None: of all. *mseq*, *mark*: what proves the history that the reader has seen."""

    owners: Sequence[str] | None
    branch: str | None
    seq: int
    snap: int | None
    limit: int
    most_bytes: int
    models: Sequence[str] | None = None
    stamps: bool = False
    mseq: int | None = None
    mark: UUID | None = None


class Head(NamedTuple):
    """Where the history stands as a page is read. *seq*: of its last change. *horizon*: compaction has taken away up to
    this number. *is_known*: whether it has the mark that was asked about. *mseq*, *mark*: its newest mark; None: it has
    none."""

    feed: UUID
    epoch: int
    seq: int
    horizon: int
    is_known: bool
    mseq: int | None
    mark: UUID | None


class Since(NamedTuple):
    """What a reader has seen: the history of *feed* in its *epoch* up to *seq*, as *mark* proves, which is the newest
    one. *most*: at a higher head the reader gets a newer one."""

    feed: UUID
    epoch: int
    seq: int
    mseq: int
    mark: UUID
    most: int


class News(NamedTuple):
    """What has come since the last look, up to *seq*. *concerned*: the audiences of it; None: anybody's may be
    among it."""

    seq: int
    concerned: frozenset[str] | None


_HEAD: Final = """
c AS MATERIALIZED (
    SELECT seq, horizon, feed, epoch, coalesce($2, seq) AS snap FROM sync_clock WHERE one
),
head AS (
    SELECT json_build_array(
        c.feed, c.epoch, c.seq, c.horizon,
        EXISTS (SELECT FROM sync_marks k WHERE k.seq = $5::bigint AND k.mark = $6::uuid), m.seq, m.mark
    )::text AS told
    FROM c LEFT JOIN LATERAL (
        SELECT k.seq, k.mark FROM sync_marks k WHERE k.seq <= c.seq ORDER BY k.seq DESC LIMIT 1
    ) m ON true
)
"""

# no number is above the head: that it is said makes the planner expect few rows, and read them by their index
_RECORDS: Final = """(
    SELECT r.seq, CASE WHEN r.deleted THEN 'delete' ELSE 'upsert' END AS op, r.model, r.record_id, r.version,
           r.owner_id,
           CASE WHEN NOT r.deleted THEN r.data WHEN r.erased THEN 'null'::jsonb END AS data,
           CASE WHEN $8::boolean AND NOT r.deleted THEN r.stamps END AS stamps
    FROM records r
    WHERE {readers} r.seq > $1 AND r.seq <= (SELECT seq FROM c) AND (NOT r.deleted OR r.seq > (SELECT snap FROM c))
      AND ($7::text[] IS NULL OR r.model = ANY ($7))
    ORDER BY r.seq
)"""

_NOBODY: Final = "r.owner_id = ANY ($9::text[]) AND $10::text IS NULL AND"

_EXITS: Final = """(
    SELECT x.seq, 'remove', x.model, x.record_id, NULL::bigint, NULL::text, NULL::jsonb, NULL::text
    FROM sync_exits x LEFT JOIN records r ON r.model = x.model AND r.record_id = x.record_id
    WHERE x.audience = {audience} AND x.seq > $1 AND x.seq > (SELECT snap FROM c)
      AND ($7::text[] IS NULL OR x.model = ANY ($7)) AND {stayed}
    ORDER BY x.seq
)"""

# Twice a sum: of the stored sizes, so that no more is unpacked than about a page, and of the texts that come of it.
# Each lets one row too many through, which tells that there are more.
_PAGE: Final = """
WITH {head}
SELECT 0 AS seq, 'head' AS op, NULL AS model, NULL AS record_id, 0 AS version, NULL AS owner_id, told AS data,
       NULL AS stamps, 0 AS bytes
FROM head
UNION ALL
SELECT seq, op, model, record_id, version, owner_id, data, stamps, greatest(bytes, stored)
FROM (
    SELECT text.*, sum(size) OVER (ROWS UNBOUNDED PRECEDING) AS bytes
    FROM (
        SELECT t.*, octet_length(coalesce(data, '')) + coalesce(octet_length(stamps), 0) + {row} AS size
        FROM (
            SELECT seq, op, model, record_id, version, owner_id, data::text AS data, stamps, stored
            FROM (
                SELECT page.*, sum(coalesce(pg_column_size(data), 0)) OVER (ROWS UNBOUNDED PRECEDING) AS stored
                FROM (SELECT * FROM ({parts}) AS part ORDER BY seq LIMIT $3) AS page
            ) AS rough
            WHERE stored - coalesce(pg_column_size(data), 0) <= $4::bigint
            OFFSET 0
        ) AS t
    ) AS text
) AS sized
WHERE bytes - size <= $4::bigint
"""


@lru_cache(maxsize=256)
def page_query(owners: int | None, branch: bool) -> str:
    """The query of a page for readers of so many *owners*, and of a *branch* or none; None owners: of everything. Each
    of their audiences is a part of its own, which an index gives in order."""
    if owners is None:
        return _PAGE.format(head=_HEAD, parts=_RECORDS.format(readers=""), row=ROW_BYTES)
    stayed = "(r.owner_id = ANY ($9::text[]) OR r.branch = $10::text) IS NOT TRUE"
    each = [f"($9::text[])[{n + 1}]" for n in range(owners)]
    parts = [_RECORDS.format(readers=f"r.owner_id = {one} AND") for one in each]
    parts += [_EXITS.format(audience=f"'o:' || {one}", stayed=stayed) for one in each]
    if branch:
        others = "r.branch = $10::text AND (r.owner_id = ANY ($9::text[])) IS NOT TRUE AND"
        parts += [_RECORDS.format(readers=others), _EXITS.format(audience="'b:' || $10::text", stayed=stayed)]
    parts = parts or [_RECORDS.format(readers=_NOBODY)]
    return _PAGE.format(head=_HEAD, parts=" UNION ALL ".join(parts), row=ROW_BYTES)


async def page(pool: Pool, asked: Asked) -> tuple[Head, list[Record]]:
    """Where the history stands, and the changes of a page by their numbers, all in one snapshot. A row has `seq`, `op`
    (upsert, delete or remove), `model`, `record_id`, `version`, `owner_id`, `data` and `stamps` (JSON texts), and
    `bytes`: of the page up to it. The last row may be the one that is too many for *most_bytes*."""
    everything = asked.owners is None
    query = page_query(None if everything else len(asked.owners or ()), asked.branch is not None)
    given: list[Any] = [asked.seq, asked.snap, asked.limit, asked.most_bytes, asked.mseq, asked.mark]
    given += [asked.models, asked.stamps, *(() if everything else (asked.owners, asked.branch))]
    rows = await pool.fetch(query, *given)
    first = next(n for n, row in enumerate(rows) if row["op"] == "head")
    return _head(orjson.loads(rows.pop(first)["data"])), rows


def _head(told: Sequence[Any]) -> Head:
    feed, epoch, seq, horizon, is_known, mseq, mark = told
    return Head(UUID(feed), epoch, seq, horizon, is_known, mseq, None if mark is None else UUID(mark))


# "WHERE one" tells the planner that there is one row; without it no plan would be kept
_UNCHANGED: Final = """
SELECT c.seq FROM sync_clock c
WHERE c.one AND c.feed = $1 AND c.epoch = $2 AND c.horizon <= $3
  AND (SELECT k.mark FROM sync_marks k WHERE k.seq >= $4 ORDER BY k.seq DESC LIMIT 1) = $5
  AND (c.seq = $3 OR c.seq > $3 AND c.seq <= $6 {news})
"""
_OF_ONE: Final = """
  AND NOT EXISTS (SELECT FROM records r WHERE r.owner_id = $7::text AND r.seq > $3 AND r.seq <= c.seq)
  AND NOT EXISTS (SELECT FROM sync_exits x WHERE x.audience = $8::text AND x.seq > $3 AND x.seq <= c.seq)
"""
_OF_MANY: Final = """
  AND NOT EXISTS (SELECT FROM unnest($7::text[]) o CROSS JOIN LATERAL (
      SELECT FROM records r WHERE r.owner_id = o AND r.seq > $3 AND r.seq <= c.seq LIMIT 1) r)
  AND NOT EXISTS (SELECT FROM unnest($8::text[]) a CROSS JOIN LATERAL (
      SELECT FROM sync_exits x WHERE x.audience = a AND x.seq > $3 AND x.seq <= c.seq LIMIT 1) x)
  AND NOT EXISTS (SELECT FROM records r WHERE r.branch = $9::text AND r.seq > $3 AND r.seq <= c.seq)
"""

UNCHANGED_FOR_ALL: Final = _UNCHANGED.format(news="AND false")
UNCHANGED_FOR_ONE: Final = _UNCHANGED.format(news=_OF_ONE)
UNCHANGED_FOR_MANY: Final = _UNCHANGED.format(news=_OF_MANY)


async def unchanged(pool: Pool, since: Since, owners: Sequence[str] | None, branch: str | None) -> int | None:
    """The head, where nothing is new *since* for a reader as Asked has it; None: a page has to tell. Most pulls find
    nothing, and this costs less than a page: it is hardly more than a look at the clock."""
    head: int | None
    if owners is None:
        head = await pool.fetchval(UNCHANGED_FOR_ALL, *since)
    elif len(owners) == 1 and branch is None:
        head = await pool.fetchval(UNCHANGED_FOR_ONE, *since, owners[0], f"o:{owners[0]}")
    else:
        audiences = [f"o:{one}" for one in owners] + ([] if branch is None else [f"b:{branch}"])
        head = await pool.fetchval(UNCHANGED_FOR_MANY, *since, owners, audiences, branch)
    return head


MOST_NEWS: Final = 500
"""Changes since the last look that are told one by one; more concern everybody."""

_NEWS: Final = """
WITH c AS MATERIALIZED (SELECT seq FROM sync_clock WHERE one),
news AS (
    (SELECT owner_id, branch, NULL::text AS audience FROM records
     WHERE seq > $1 AND seq <= (SELECT seq FROM c) ORDER BY seq LIMIT $2)
    UNION ALL
    (SELECT NULL, NULL, audience FROM sync_exits
     WHERE seq > $1 AND seq <= (SELECT seq FROM c) ORDER BY seq LIMIT $2)
)
SELECT c.seq, count(news) AS many,
       array_agg(DISTINCT 'o:' || owner_id) || array_agg(DISTINCT 'b:' || branch) || array_agg(DISTINCT audience)
           AS whom
FROM c LEFT JOIN news ON true GROUP BY c.seq
"""


async def news(pool: Pool, seq: int) -> News:
    """Whom the changes after *seq* concern."""
    row = await pool.fetchrow(_NEWS, seq, MOST_NEWS)
    assert row is not None, "the migration has made the row of the clock"
    if row["many"] >= MOST_NEWS or row["seq"] < seq:
        return News(row["seq"], None)
    return News(row["seq"], frozenset(one for one in row["whom"] if one is not None) | {ALL})
