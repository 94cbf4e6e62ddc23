"""Who was erased: the marks by which an erased person is known again, and the opt-outs that outlive them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple, TypeAlias

from adapters.postgres.pool import Connection, Pool

MarkKind: TypeAlias = Literal["key", "order"]

PEPPER: Final = "erasure_pepper"
"""In `ferryman_meta`: the secret under which marks are digests, itself encrypted."""

_VERSION: Final = "erasure_marks_version"

OPTED_OUT: Final = "erased:"
"""In `opt_outs`, before the digest that stands in the place of a phone line."""


class Mark(NamedTuple):
    """An identity of the person of *erasure*, as a digest. What was before *at* is of the past."""

    digest: bytes
    kind: MarkKind
    erasure: int
    at: datetime


_ALL: Final = "SELECT digest, kind, erasure, at FROM erasure_marks WHERE lifted_at IS NULL"
_FIND: Final = f"{_ALL} AND digest = ANY ($1::bytea[])"
_PUT: Final = """
INSERT INTO erasure_marks (digest, kind, erasure, at)
SELECT d, k, $3, $4 FROM unnest($1::bytea[], $2::text[]) AS g (d, k)
ON CONFLICT (digest) DO UPDATE
SET erasure = excluded.erasure, at = greatest(erasure_marks.at, excluded.at), lifted_at = NULL
"""
# the version is one row that every writer locks: who sees it, sees all that was committed under it
_CHANGED: Final = """
INSERT INTO ferryman_meta AS m (key, value) VALUES ($1, '1')
ON CONFLICT (key) DO UPDATE SET value = (m.value::bigint + 1)::text
"""
_LIFT: Final = """
UPDATE erasure_marks SET lifted_at = now() WHERE erasure = $1 AND kind = 'key' AND lifted_at IS NULL
"""
_WANTS_NONE: Final = """
UPDATE opt_outs o SET line = $2 WHERE line = $1
  AND NOT EXISTS (SELECT FROM opt_outs n WHERE n.line = $2 AND n.scope = o.scope)
"""


async def version(pool: Pool) -> str:
    """Changes with every change of the marks; "" where there never was one."""
    return await pool.fetchval("SELECT value FROM ferryman_meta WHERE key = $1", _VERSION) or ""


async def marks(pool: Pool) -> list[Mark]:
    """All marks that are in force."""
    return [Mark(*row) for row in await pool.fetch(_ALL)]


async def in_force(pool: Pool, digests: Sequence[bytes]) -> list[Mark]:
    """Those of *digests* whose marks are in force now."""
    return [Mark(*row) for row in await pool.fetch(_FIND, digests)]


async def put(conn: Connection, found: Sequence[tuple[bytes, MarkKind]], erasure: int, at: datetime) -> None:
    """Mark these digests, also those that were lifted. To be run in a transaction."""
    for_sure = dict(sorted(found))
    if for_sure:
        await conn.execute(_PUT, list(for_sure), list(for_sure.values()), erasure, at)
        await conn.execute(_CHANGED, _VERSION)


async def lift(pool: Pool, erasure: int, digest: bytes, line: str) -> None:
    """The person of *erasure* begins anew, under the key *line*, whose mark is *digest*. What they have said of
    messages counts again. Doing it twice is harmless."""
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(_LIFT, erasure)
        await conn.execute(_WANTS_NONE, OPTED_OUT + digest.hex(), line)
        await conn.execute(_CHANGED, _VERSION)
