"""Sessions of operators, what they reveal, links that log in once, and the count of tries to log in.

Tokens come as their SHA-256. Every end is judged by the clock of Postgres.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection, Pool
from schemas.principals import Role

IDLE_HOURS: Final = 8
"""A session that is not used so long has ended."""

MOST_HOURS: Final = 24
"""A session ends so long after its login, however it is used."""

REVEALED_MINUTES: Final = 10
LINK_MINUTES: Final = 15

FREE_TRIES: Final = 5
"""Tries that one address, or one name, has without a wait."""

MOST_WAIT_S: Final = 900
FORGET_HOURS: Final = 24
"""What has failed is forgotten after so long without another try."""


class Session(NamedTuple):
    """Whose a session is. *stale*: it is not noted within the last minute that it is used."""

    operator: int
    name: str
    role: Role
    stale: bool


_LIVES: Final = (
    f"s.seen_at > now() - interval '{IDLE_HOURS} h' AND s.created_at > now() - interval '{MOST_HOURS} h'"
    " AND o.disabled_at IS NULL"
)
_FIND: Final = f"""
SELECT o.id, o.name, o.role, s.seen_at < now() - interval '1 min'
FROM operator_sessions s JOIN operators o ON o.id = s.operator WHERE s.digest = $1 AND {_LIVES}
"""  # noqa: S608 - constants only
_ADD: Final = "INSERT INTO operator_sessions (digest, operator, address, agent) VALUES ($1, $2, $3, $4)"
_SEEN: Final = "UPDATE operator_sessions SET seen_at = now() WHERE digest = $1"
_END: Final = "DELETE FROM operator_sessions WHERE digest = $1"
_END_OF: Final = "DELETE FROM operator_sessions WHERE operator = $1"
_END_OLD: Final = f"""
DELETE FROM operator_sessions WHERE created_at < now() - interval '{MOST_HOURS} h'
"""  # noqa: S608 - constants only
_OF: Final = f"""
SELECT s.digest, s.created_at, s.seen_at, s.address, s.agent
FROM operator_sessions s JOIN operators o ON o.id = s.operator WHERE s.operator = $1 AND {_LIVES}
ORDER BY s.seen_at DESC LIMIT 100
"""  # noqa: S608 - constants only
_END_OTHERS: Final = "DELETE FROM operator_sessions WHERE operator = $1 AND digest <> $2"
_REVEAL: Final = f"""
INSERT INTO operator_reveals (digest, subject, until) VALUES ($1, $2, now() + interval '{REVEALED_MINUTES} min')
ON CONFLICT (digest, subject) DO UPDATE SET until = excluded.until
"""  # noqa: S608 - constants only
_REVEALED: Final = "SELECT subject FROM operator_reveals WHERE digest = $1 AND until > now()"
_LINK: Final = f"""
INSERT INTO operator_links (digest, operator, expires_at) VALUES ($1, $2, now() + interval '{LINK_MINUTES} min')
"""  # noqa: S608 - constants only
_LINKED: Final = "SELECT operator FROM operator_links WHERE digest = $1 AND expires_at > now()"
_FOLLOW: Final = "DELETE FROM operator_links WHERE digest = $1 AND expires_at > now() RETURNING operator"
_TRY: Final = f"""
INSERT INTO login_failures AS f (subject, failures) VALUES ($1, 1)
ON CONFLICT (subject) DO UPDATE SET
  failures = CASE WHEN f.at < now() - interval '{FORGET_HOURS} h' THEN 1 ELSE f.failures + 1 END, at = now()
"""  # noqa: S608 - constants only
_WAITS: Final = f"""
SELECT coalesce(max(extract(epoch FROM at - now())
  + CASE WHEN failures < {FREE_TRIES} THEN 0
         ELSE least({MOST_WAIT_S}, power(2, least(failures - {FREE_TRIES}, 20))) END), 0)::float8
FROM login_failures WHERE subject = ANY($1) AND at > now() - interval '{FORGET_HOURS} h'
"""  # noqa: S608 - constants only
_LOCK: Final = "SELECT FROM login_failures WHERE subject = ANY($1) ORDER BY subject FOR UPDATE"
_FORGET_OLD: Final = f"""
DELETE FROM login_failures WHERE at < now() - interval '{FORGET_HOURS} h'
"""  # noqa: S608 - constants only


class Open(NamedTuple):
    """A session, as its operator may see it: *digest* tells their own from the others."""

    digest: bytes
    created_at: datetime
    seen_at: datetime
    address: str
    agent: str


class Link(NamedTuple):
    """*operator*: whom it logs in; None: it makes the first one."""

    operator: int | None


async def find(conn: Connection | Pool, digest: bytes) -> Session | None:
    """The session of *digest*, while it lives."""
    row = await conn.fetchrow(_FIND, digest)
    return None if row is None else Session(*row)


async def add(conn: Connection, digest: bytes, operator: int, address: str, agent: str) -> None:
    """Begin one, and drop those that have ended by themselves."""
    await conn.execute(_END_OLD)
    await conn.execute(_ADD, digest, operator, address[:100], agent[:200])


async def note_use(conn: Connection | Pool, digest: bytes) -> None:
    """Write that it is used now."""
    await conn.execute(_SEEN, digest)


async def end(conn: Connection, digest: bytes) -> None:
    """End the session of *digest*."""
    await conn.execute(_END, digest)


async def end_of(conn: Connection, operator: int) -> None:
    """End every session of *operator*."""
    await conn.execute(_END_OF, operator)


async def of(conn: Connection | Pool, operator: int) -> list[Open]:
    """The sessions of *operator* that live, the last used first."""
    return [Open(*row) for row in await conn.fetch(_OF, operator)]


async def end_others(conn: Connection, operator: int, digest: bytes) -> None:
    """End every session of *operator* but that of *digest*."""
    await conn.execute(_END_OTHERS, operator, digest)


async def reveal(conn: Connection, digest: bytes, subject: str) -> None:
    """Show *subject* unmasked in this session for REVEALED_MINUTES."""
    await conn.execute(_REVEAL, digest, subject)


async def revealed(conn: Connection | Pool, digest: bytes) -> frozenset[str]:
    """What this session shows unmasked now."""
    return frozenset(row[0] for row in await conn.fetch(_REVEALED, digest))


async def add_link(conn: Connection | Pool, digest: bytes, operator: int | None) -> None:
    """Keep a link for LINK_MINUTES."""
    await conn.execute(_LINK, digest, operator)


async def link(conn: Connection | Pool, digest: bytes) -> Link | None:
    """The link of *digest*, where it may still be followed."""
    row = await conn.fetchrow(_LINKED, digest)
    return None if row is None else Link(row[0])


async def follow(conn: Connection, digest: bytes) -> Link | None:
    """As `link`, for the only time."""
    row = await conn.fetchrow(_FOLLOW, digest)
    return None if row is None else Link(row[0])


async def end_links(conn: Connection, operator: int | None) -> None:
    """Let no link of *operator* be followed any more."""
    await conn.execute("DELETE FROM operator_links WHERE operator IS NOT DISTINCT FROM $1", operator)


async def begin_try(conn: Connection, subjects: Sequence[bytes]) -> float:
    """Seconds to wait before the next try by *subjects*; 0: this one may go on, and counts as failed until it is said
    otherwise. Call it in a transaction of its own."""
    ordered = sorted(subjects)
    await conn.execute(_FORGET_OLD)
    for subject in ordered:  # a row to lock, also at the first try
        await conn.execute(
            "INSERT INTO login_failures (subject, failures) VALUES ($1, 0) ON CONFLICT DO NOTHING", subject
        )
    await conn.execute(_LOCK, ordered)
    wait_s = float(await conn.fetchval(_WAITS, ordered))
    if wait_s > 0:
        return wait_s
    for subject in ordered:
        await conn.execute(_TRY, subject)
    return 0.0


async def forgive(conn: Connection, name: bytes, address: bytes) -> None:
    """A try was right: forget what failed by *name*, and this one try by *address*, whose others may be guesses at
    other names."""
    await conn.execute("DELETE FROM login_failures WHERE subject = $1", name)
    await conn.execute("UPDATE login_failures SET failures = greatest(failures - 1, 0) WHERE subject = $1", address)
