"""The erasures themselves: begun, gone on with, ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from adapters.postgres.pool import Connection, Pool, Record


class Erasure(NamedTuple):
    """An erasure. *counted*: what was done, by step. *outside*: what became of it in other systems. *finished_at*:
    None: it is under way, or was cut short."""

    id: int
    actor: str
    started_at: datetime
    finished_at: datetime | None
    counted: Mapping[str, int]
    outside: Sequence[Mapping[str, Any]]


_COLUMNS: Final = "id, actor, started_at, finished_at, counts::text, outside::text"
_BEGIN: Final = f"""
INSERT INTO erasures (actor, started_at) VALUES ($1, coalesce($2, now())) RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only
_FIND: Final = f"SELECT {_COLUMNS} FROM erasures WHERE id = $1"  # noqa: S608 - constants only
_LIST: Final = f"SELECT {_COLUMNS} FROM erasures ORDER BY id DESC LIMIT $1"  # noqa: S608 - constants only
_OPEN: Final = "SELECT id FROM erasures WHERE finished_at IS NULL ORDER BY id"
_OF_MARKS: Final = """
SELECT DISTINCT e.id FROM erasures e JOIN erasure_marks m ON m.erasure = e.id
WHERE m.digest = ANY ($1::bytea[]) AND e.finished_at IS NULL ORDER BY e.id
"""
_COUNT: Final = """
UPDATE erasures SET counts = jsonb_set(counts, ARRAY[$2], to_jsonb(coalesce((counts ->> $2)::bigint, 0) + $3))
WHERE id = $1
"""
_OUTSIDE: Final = "UPDATE erasures SET outside = $2::jsonb WHERE id = $1"
_FINISH: Final = "UPDATE erasures SET finished_at = now() WHERE id = $1 AND finished_at IS NULL"
_FORGET: Final = "DELETE FROM erasure_subjects WHERE erasure = $1"
_MARKS: Final = "SELECT digest, kind FROM erasure_marks WHERE erasure = $1 ORDER BY digest"
_DONE: Final = """
SELECT digest FROM erasure_marks m JOIN erasures e ON e.id = m.erasure
WHERE e.finished_at IS NOT NULL AND m.at >= $2 AND digest = ANY ($1::bytea[])
"""


async def begin(conn: Connection, actor: str, at: datetime | None = None) -> Erasure:
    """A new erasure. *at*: when it was first done, of one that is done again in a restored database."""
    row = await conn.fetchrow(_BEGIN, actor, at)
    assert row is not None
    return _erasure(row)


async def find(pool: Pool | Connection, erasure: int) -> Erasure | None:
    """The erasure of this number."""
    row = await pool.fetchrow(_FIND, erasure)
    return None if row is None else _erasure(row)


async def newest(pool: Pool, limit: int) -> list[Erasure]:
    """The newest erasures."""
    return [_erasure(row) for row in await pool.fetch(_LIST, limit)]


async def unfinished(pool: Pool) -> list[int]:
    """Erasures that were cut short, or are under way."""
    return [row[0] for row in await pool.fetch(_OPEN)]


async def unfinished_of(pool: Pool, digests: Sequence[bytes]) -> list[int]:
    """The same, of the people with these marks."""
    return [row[0] for row in await pool.fetch(_OF_MARKS, digests)]


async def count(conn: Connection | Pool, erasure: int, step: str, number: int) -> None:
    """Add to what was done."""
    if number:
        await conn.execute(_COUNT, erasure, step, number)


async def tell_outside(pool: Pool, erasure: int, told: Sequence[Mapping[str, Any]]) -> None:
    """Keep what became of it in other systems."""
    await pool.execute(_OUTSIDE, erasure, orjson.dumps(list(told)).decode())


async def finish(conn: Connection, erasure: int) -> None:
    """It is done: whose data it was is forgotten."""
    await conn.execute(_FORGET, erasure)
    await conn.execute(_FINISH, erasure)


async def marks_of(pool: Pool | Connection, erasure: int) -> list[tuple[bytes, str]]:
    """The (digest, kind) of its marks."""
    return [(row[0], row[1]) for row in await pool.fetch(_MARKS, erasure)]


async def done_since(pool: Pool, digests: Sequence[bytes], at: datetime) -> set[bytes]:
    """Those of *digests* of which a finished erasure of *at* or later is known."""
    return {row[0] for row in await pool.fetch(_DONE, digests, at)}


def _erasure(row: Record) -> Erasure:
    counted, outside = orjson.loads(row["counts"]), orjson.loads(row["outside"])
    return Erasure(row["id"], row["actor"], row["started_at"], row["finished_at"], counted, outside)
