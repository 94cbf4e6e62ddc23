"""By the clock: notes that nobody was known for are given the user that a mapping names by now.

New and changed mappings are looked at within a minute. All are looked at once an hour, as the same person's other phone
may have become known since.
"""

from __future__ import annotations

from typing import Final

from adapters.postgres import archive, users
from adapters.postgres.pool import Pool
from adapters.postgres.users import Named

AGAIN_MINUTES: Final = 60
MOST: Final = 200
"""Mappings that one look takes, and notes that one transaction assigns."""


async def apply(pool: Pool) -> int:
    """Assign what can be assigned. Returns how many notes were."""
    count = 0
    while mappings := await users.unapplied(pool, AGAIN_MINUTES, MOST):
        for one in mappings:
            count += await _apply(pool, one)
        await users.applied(pool, mappings)
    return count


async def apply_one(pool: Pool, id: int) -> int:
    """As `apply`, of the mapping *id* alone: it was just made, or changed."""
    mappings = await users.mapping(pool, id)
    count = sum([await _apply(pool, one) for one in mappings])
    await users.applied(pool, mappings)
    return count


async def _apply(pool: Pool, mapping: Named) -> int:
    """Assign the notes of the person that *mapping* names. Whose they are is decided as for a new message."""
    who = await users.same_person(pool, mapping.who)
    count = 0
    while left := await users.unmapped(pool, who, MOST):
        found = await users.find(pool, [note.who for note in left])
        named = {note.id: user for note, user in zip(left, found, strict=True) if user is not None}
        async with pool.acquire() as conn, conn.transaction():
            assigned = await users.assign(conn, named)
            await archive.follow(conn, assigned)
        count += len(assigned)
        if not assigned:
            break
    return count
