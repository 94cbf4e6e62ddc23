"""The workers of the installation: what "every worker" means, whichever of them this process runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from adapters.postgres.pool import Connection, Pool
from schemas.envelope import Event

Begins: TypeAlias = Literal["everything", "now"]
"""Which events a worker that is new handles: all that are kept, or those that are accepted from now on."""

JOURNAL: Final = "journal"
"""The worker that copies events to the journal: of these copies the others' open work is known."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_REGISTER: Final = """
INSERT INTO workers AS w (name, topics, types, begins, first_run_at, last_seen_at)
VALUES ($1, $2, $3, $4, CASE WHEN $5 THEN now() END, CASE WHEN $5 THEN now() END)
ON CONFLICT (name) DO UPDATE
SET topics = excluded.topics, types = excluded.types, begins = excluded.begins,
    first_run_at = coalesce(w.first_run_at, excluded.first_run_at),
    last_seen_at = coalesce(excluded.last_seen_at, w.last_seen_at)
"""

_LISTED: Final = """
SELECT name, topics, types, begins, began_at, first_run_at, last_seen_at,
    extract(epoch FROM now() - coalesce(last_seen_at, began_at))::float8 AS unseen_s
FROM workers ORDER BY name
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A worker as the table has it. *unseen_s*: seconds since a process last ran it, or since it was entered."""

    name: str
    topics: Sequence[str]
    types: Sequence[str]
    begins: Begins = "everything"
    began_at: datetime = EPOCH
    first_run_at: datetime | None = None
    last_seen_at: datetime | None = None
    unseen_s: float = 0.0

    @property
    def since(self) -> datetime:
        """Events that were accepted before are not this worker's."""
        return self.began_at if self.begins == "now" else EPOCH

    def concerns(self, event: Event) -> bool:
        """Whether *event* is this worker's to handle."""
        return event.type in self.types and event.is_for(self.name, self.since)


async def register(pool: Pool, found: Sequence[Registered], running: Collection[str]) -> None:
    """Enter the workers *found* of this process, or renew their entries. *running*: the names of those that it runs."""
    async with pool.acquire() as conn, conn.transaction():
        for worker in sorted(found, key=lambda worker: worker.name):
            await conn.execute(
                _REGISTER, worker.name, worker.topics, worker.types, worker.begins, worker.name in running
            )


async def seen(pool: Pool, names: Sequence[str]) -> None:
    """A process runs the workers *names* now."""
    await pool.execute("UPDATE workers SET last_seen_at = now() WHERE name = ANY($1::text[])", names)


async def listed(conn: Connection | Pool) -> list[Registered]:
    """All of them, by name."""
    return [Registered(**dict(row)) for row in await conn.fetch(_LISTED)]


async def forget(pool: Pool, name: str) -> bool:
    """Take a worker out of the table: nothing is kept for it any more. False: there is no such worker."""
    return bool(await pool.fetchval("DELETE FROM workers WHERE name = $1 RETURNING true", name))


def by_type(workers: Sequence[Registered]) -> tuple[list[str], list[str], list[datetime]]:
    """Names, types and beginnings of *workers* as three columns, a row for each type of a worker."""
    rows = [(worker.name, type_, worker.since) for worker in workers for type_ in worker.types]
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
