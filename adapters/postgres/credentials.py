"""The stored accounts at providers. What is read and written here is encrypted: the keys are elsewhere."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection, Pool


class Stored(NamedTuple):
    """A row. *secret*: encrypted by the key that *key_id* stands for."""

    provider: str
    account: str
    secret: bytes
    key_id: str
    created_at: datetime
    updated_at: datetime
    created_by: str


_COLUMNS: Final = ", ".join(Stored._fields)
_EVERY: Final = f"SELECT {_COLUMNS} FROM credentials ORDER BY provider, account"  # noqa: S608 - constants only
_ONE: Final = f"SELECT {_COLUMNS} FROM credentials WHERE provider = $1 AND account = $2"  # noqa: S608 - constants only
_PUT: Final = """
INSERT INTO credentials (provider, account, secret, key_id, created_by) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (provider, account) DO UPDATE SET secret = excluded.secret, key_id = excluded.key_id, updated_at = now()
RETURNING xmax = 0
"""
_AGAIN: Final = """
UPDATE credentials SET secret = $4, key_id = $5 WHERE provider = $1 AND account = $2 AND secret = $3
"""
_OPEN: Final = """
SELECT count(*) FROM messages
WHERE status IN ('queued', 'sending') AND direction = 'out' AND provider = $1 AND account = $2
"""


async def every(conn: Connection | Pool) -> list[Stored]:
    """All of them, by provider and account."""
    return [Stored(*row) for row in await conn.fetch(_EVERY)]


async def find(conn: Connection | Pool, provider: str, account: str) -> Stored | None:
    """That of one account."""
    row = await conn.fetchrow(_ONE, provider, account)
    return None if row is None else Stored(*row)


async def names(conn: Connection | Pool) -> frozenset[tuple[str, str]]:
    """The (provider, account) of all of them."""
    return frozenset((row[0], row[1]) for row in await conn.fetch("SELECT provider, account FROM credentials"))


async def put(conn: Connection, provider: str, account: str, secret: bytes, key_id: str, by: str) -> bool:
    """Store it, in the place of a former one. Returns whether there was none."""
    made: bool = await conn.fetchval(_PUT, provider, account, secret, key_id, by)
    return made


async def put_again(conn: Connection, before: Stored, secret: bytes, key_id: str) -> bool:
    """Store the same values under another key; false where they were changed since *before* was read."""
    done = await conn.execute(_AGAIN, before.provider, before.account, before.secret, secret, key_id)
    return done.endswith(" 1")


async def remove(conn: Connection, provider: str, account: str) -> bool:
    """Delete it; false where there is none."""
    done = await conn.execute("DELETE FROM credentials WHERE provider = $1 AND account = $2", provider, account)
    return done.endswith(" 1")


async def open_messages(conn: Connection | Pool, provider: str, account: str) -> int:
    """How many messages are still to be sent by the account."""
    found: int = await conn.fetchval(_OPEN, provider, account)
    return found
