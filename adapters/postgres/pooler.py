"""Whether a pooler stands before Postgres that hands its sessions from one client to the next between transactions.

Behind such a pooler (PgBouncer's transaction mode, Supabase's port 6543) a lock of a session guards nothing: it stays
with a server session that other clients use as well. Two clients with sessions of their own never share one.
"""

from __future__ import annotations

from typing import Final

import asyncpg

from adapters.postgres.pool import Connection
from schemas.errors import FerrymanError

ADVICE: Final = (
    "a pooler before Postgres works by transaction, and Ferryman's locks need whole sessions:"
    " set DATABASE_URL to the pooler's session mode, or to Postgres itself"
)

_ROUNDS: Final = 3
"""A pooler may have several sessions at hand, and other clients."""

_SESSION: Final = "SELECT pg_backend_pid()"


class PooledSessions(FerrymanError):
    """The sessions are shared with other clients: one line that names the pooler and says what to do."""


def by_pooler(exc: BaseException) -> bool:
    """Whether *exc* comes of a session that changed between two statements: a prepared statement is there already, or
    is gone."""
    return isinstance(exc, asyncpg.DuplicatePreparedStatementError | asyncpg.InvalidSQLStatementNameError)


async def require_own_sessions(one: Connection, other: Connection) -> None:
    """*one*, *other*: two connections that are in no transaction. Raises: PooledSessions."""
    try:
        session = await one.fetchval(_SESSION)
        for _ in range(_ROUNDS):
            async with other.transaction():  # meanwhile the pooler can give its session to no other client
                taken = await other.fetchval(_SESSION)
                if taken == session:
                    raise PooledSessions(ADVICE)
            if await one.fetchval(_SESSION) != session:
                raise PooledSessions(ADVICE)
    except asyncpg.PostgresError as exc:
        if by_pooler(exc):
            raise PooledSessions(ADVICE) from exc
        raise
