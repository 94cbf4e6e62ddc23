"""What each process says of itself, renewed while it lives."""

from __future__ import annotations

from typing import Final, NamedTuple

from adapters.postgres.pool import Connection, Pool

LIVE_S: Final = 20
"""A process that has said nothing for longer is not taken to live."""

KEPT_S: Final = 3600
"""How long the row of a process that died stays."""

_TELL: Final = """
INSERT INTO members (id, report) VALUES ($1, $2::jsonb)
ON CONFLICT (id) DO UPDATE SET report = excluded.report, seen_at = now()
"""
_LIVE: Final = """
SELECT id, report::text AS report, extract(epoch FROM now() - seen_at)::float8 AS seen_s FROM members
WHERE seen_at > now() - make_interval(secs => $1) ORDER BY id
"""


class Told(NamedTuple):
    """What the process *id* said *seen_s* seconds ago, as JSON."""

    id: str
    report: str
    seen_s: float


async def tell(pool: Pool, id: str, report: str) -> None:
    """The process *id* lives, and says this of itself."""
    await pool.execute(_TELL, id, report)


async def leave(pool: Pool, id: str) -> None:
    """The process *id* ends."""
    await pool.execute("DELETE FROM members WHERE id = $1", id)


async def live(conn: Connection | Pool) -> list[Told]:
    """What the processes say that live."""
    return [Told(**dict(row)) for row in await conn.fetch(_LIVE, LIVE_S)]


async def forget_old(pool: Pool) -> None:
    """Take out those that have said nothing for KEPT_S."""
    await pool.execute("DELETE FROM members WHERE seen_at < now() - make_interval(secs => $1)", KEPT_S)
