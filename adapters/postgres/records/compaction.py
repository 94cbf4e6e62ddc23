"""Compaction: what the feed of changes, and all that goes with it, does not need any more.

Whoever pulls from before the horizon may have missed what was taken away. So the horizon rises in the statement that
takes away, and before it: that statement takes the clock first, as every write of records does, and never waits for one
in a circle. Each step is small: writes wait for it no longer than for each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters.postgres.pool import Pool, Record

STEP: Final = 500
"""Rows that one statement takes away."""

# What is old enough to go. $1: days. $2: the most rows.
_TOMBSTONES: Final = """
SELECT r.model, r.record_id, r.seq FROM records r
WHERE r.deleted AND NOT r.erased AND r.deleted_at < now() - make_interval(days => $1) AND NOT EXISTS (
    SELECT FROM sync_queue q WHERE q.model = r.model AND q.record_id = r.record_id AND NOT q.settled)
ORDER BY r.deleted_at, r.seq LIMIT $2
"""
_EXITS: Final = """
SELECT x.audience, x.model, x.record_id, x.seq FROM sync_exits x
WHERE x.at < now() - make_interval(days => $1) ORDER BY x.at LIMIT $2
"""
# a mark is out of use since the next one was made: until then its cursors were given out
_MARKS: Final = """
SELECT seq FROM (
    SELECT seq, lead(at) OVER (ORDER BY seq) AS since FROM (SELECT seq, at FROM sync_marks ORDER BY seq LIMIT $2) AS low
) AS m
WHERE since < now() - make_interval(days => $1)
"""

_TAKE_TOMBSTONES: Final = """
WITH c AS (UPDATE sync_clock SET horizon = greatest(horizon, $1) RETURNING horizon),
d AS (
    DELETE FROM records r USING c, unnest($2::text[], $3::text[], $4::bigint[]) AS t (model, record_id, seq)
    WHERE r.model = t.model AND r.record_id = t.record_id AND r.seq = t.seq AND r.deleted
    RETURNING r.model, r.record_id
),
p AS (DELETE FROM record_people p USING d WHERE p.model = d.model AND p.record_id = d.record_id)
SELECT count(*) FROM d
"""
_TAKE_EXITS: Final = """
WITH c AS (UPDATE sync_clock SET horizon = greatest(horizon, $1) RETURNING horizon),
d AS (
    DELETE FROM sync_exits x
    USING c, unnest($2::text[], $3::text[], $4::text[], $5::bigint[]) AS t (audience, model, record_id, seq)
    WHERE x.audience = t.audience AND x.model = t.model AND x.record_id = t.record_id AND x.seq = t.seq
    RETURNING x.seq
)
SELECT count(*) FROM d
"""
_TAKE_MARKS: Final = """
WITH c AS (UPDATE sync_clock SET horizon = greatest(horizon, $1) RETURNING horizon),
d AS (DELETE FROM sync_marks m USING c WHERE m.seq = ANY ($2::bigint[]) RETURNING m.seq)
SELECT count(*) FROM d
"""
_TAKE_USELESS_MARKS: Final = """
WITH d AS (
    DELETE FROM sync_marks WHERE seq IN (
        SELECT seq FROM sync_marks WHERE seq < (SELECT horizon FROM sync_clock) ORDER BY seq LIMIT $1)
    RETURNING seq
)
SELECT count(*) FROM d
"""

# Beside the feed, without the clock: what waits for these rows holds none of them. A replica that pushes just now is
# passed by. $1: days. $2: the most rows.
_BESIDE: Final[Mapping[str, str]] = {
    "ledger": """sync_ops WHERE (user_id, op_id) IN (
        SELECT user_id, op_id FROM sync_ops
        WHERE at < now() - make_interval(days => $1) ORDER BY at LIMIT $2)""",
    "conflicts": """sync_conflicts WHERE id IN (
        SELECT id FROM sync_conflicts WHERE decision IS NOT NULL AND created_at < now() - make_interval(days => $1)
        ORDER BY created_at LIMIT $2)""",
    "queue": """sync_queue WHERE id IN (
        SELECT id FROM sync_queue WHERE settled AND state <> 'failed'
        AND synced_at < now() - make_interval(days => $1) ORDER BY synced_at LIMIT $2)""",
    "replicas": """sync_replicas WHERE replica IN (
        SELECT replica FROM sync_replicas
        WHERE pushed_at < now() - make_interval(days => $1) LIMIT $2 FOR UPDATE SKIP LOCKED)""",
}

BESIDE: Final = tuple(_BESIDE)
"""What goes beside the feed: the ledger of operations, decided conflicts, an edge's operations that are settled, and
whose the names of replicas are that do not push any more."""


async def take_tombstones(pool: Pool, days: int) -> int:
    """Take away a step of the records that were deleted more than *days* ago; returns how many. An erased record stays,
    so that it never revives, and one of which an operation is still under way to the upstream."""
    rows = await pool.fetch(_TOMBSTONES, days, STEP)
    columns = _columns(rows, "model", "record_id", "seq")
    return int(await pool.fetchval(_TAKE_TOMBSTONES, max(columns[-1]), *columns)) if rows else 0


async def take_exits(pool: Pool, days: int) -> int:
    """Take away a step of the exits that are older than *days*; returns how many."""
    rows = await pool.fetch(_EXITS, days, STEP)
    columns = _columns(rows, "audience", "model", "record_id", "seq")
    return int(await pool.fetchval(_TAKE_EXITS, max(columns[-1]), *columns)) if rows else 0


async def take_marks(pool: Pool, days: int) -> int:
    """Take away a step of the marks that are out of use for *days*, or that no cursor can use; returns how many."""
    (seqs,) = _columns(await pool.fetch(_MARKS, days, STEP), "seq")
    if seqs:
        return int(await pool.fetchval(_TAKE_MARKS, max(seqs), seqs))
    return int(await pool.fetchval(_TAKE_USELESS_MARKS, STEP))


async def take_beside(pool: Pool, what: str, days: int) -> int:
    """Take away a step of *what*, one of BESIDE, that is older than *days*; returns how many rows."""
    statement = f"DELETE FROM {_BESIDE[what]}"  # noqa: S608 - constants only
    return int((await pool.execute(statement, days, STEP)).rpartition(" ")[2])


async def countable(pool: Pool, what: str, days: int) -> int:
    """How much of *what* would go: `tombstones`, `exits`, `marks` or one of BESIDE."""
    found = {"tombstones": _TOMBSTONES, "exits": _EXITS, "marks": _MARKS}.get(what)
    query = f"({found})" if found else _BESIDE[what].partition(" IN ")[2]
    return int(await pool.fetchval(f"SELECT count(*) FROM ({query}) AS old", days, 2**62))  # noqa: S608 - constants


async def horizon(pool: Pool) -> int:
    """The number up to which compaction has taken away."""
    return int(await pool.fetchval("SELECT horizon FROM sync_clock"))


def _columns(rows: list[Record], *names: str) -> list[list[int]]:
    return [[row[name] for row in rows] for name in names]
