"""People of the tables as tests write and read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from adapters.postgres import people
from adapters.postgres.people import Met
from adapters.postgres.pool import Pool
from schemas.identity import Identity, IdentityKind

SOURCE: Final = "test"


def identities(*texts: str) -> list[Identity]:
    """Identities written as `kind:value`."""
    pairs = (text.split(":", 1) for text in texts)
    return [Identity(IdentityKind(kind), value) for kind, value in pairs]


async def met(db: Pool, *groups: Sequence[str]) -> list[UUID | None]:
    """The contacts of *groups* that are seen in one transaction."""
    async with db.acquire() as conn, conn.transaction():
        return await people.meet(conn, [Met(identities(*group), SOURCE) for group in groups])


async def partition(db: Pool) -> set[frozenset[str]]:
    """The identities of each contact that has any."""
    rows = await db.fetch(
        "SELECT contact_id, array_agg(kind || ':' || value) AS all FROM contact_identities GROUP BY contact_id"
    )
    return {frozenset(row["all"]) for row in rows}


async def counts(db: Pool) -> tuple[int, int]:
    """(contacts that stand for a person, contacts that were merged)."""
    row = await db.fetchrow("SELECT count(*) FILTER (WHERE merged_into IS NULL), count(merged_into) FROM contacts")
    assert row is not None
    return row[0], row[1]
