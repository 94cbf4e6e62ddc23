"""The stored tokens: of each, its SHA-256, whose it is and how long it holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

from adapters.postgres.pool import Connection, Pool
from schemas.principals import Principal, Role

Kind = Literal["user", "edge"]


class Token(NamedTuple):
    """A row without its digest. *hint*: the token's last characters."""

    id: int
    hint: str
    kind: Kind
    name: str
    role: Role
    owners: list[str]
    branch: str | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None


class Bearer(NamedTuple):
    """Whom a token stands for. *ended*: it was revoked or has expired. *left_s*: until it expires; None: it does not.
    *noted*: that it was used stands in its row since less than NOTE_S."""

    principal: Principal
    ended: bool
    left_s: float | None
    noted: bool


NOTE_S: Final = 60
"""The last use of a token is written once in so many seconds at most."""

_COLUMNS: Final = ", ".join(Token._fields)
_BEARER: Final = f"""
SELECT id, kind, name, role, owners, branch, revoked_at IS NOT NULL OR coalesce(expires_at <= now(), false),
       extract(epoch FROM expires_at - now())::float8, coalesce(used_at > now() - interval '{NOTE_S} s', false)
FROM tokens WHERE digest = $1
"""  # noqa: S608 - constants only
_NOTE: Final = f"""
UPDATE tokens SET used_at = now() WHERE id = $1 AND coalesce(used_at <= now() - interval '{NOTE_S} s', true)
"""  # noqa: S608 - constants only
_ADD: Final = f"""
INSERT INTO tokens (digest, hint, kind, name, role, owners, branch, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + $9 * interval '1 day')
RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only
_EVERY: Final = f"SELECT {_COLUMNS} FROM tokens ORDER BY id"  # noqa: S608 - constants only
_ONE: Final = f"SELECT {_COLUMNS} FROM tokens WHERE id = $1"  # noqa: S608 - constants only
_REVOKE: Final = "UPDATE tokens SET revoked_at = now(), revoked_by = $2 WHERE id = $1 AND revoked_at IS NULL"


async def bearer(conn: Connection | Pool, digest: bytes) -> Bearer | None:
    """Whom the token of *digest* stands for; None: there is no such token."""
    row = await conn.fetchrow(_BEARER, digest)
    if row is None:
        return None
    id, kind, name, role, owners, branch, ended, left_s, noted = row
    who = Principal(kind=kind, name=name, role=role, owners=frozenset(owners), branch=branch, token=id)
    return Bearer(who, ended, left_s, noted)


async def note_use(conn: Connection | Pool, id: int) -> None:
    """Write that it is used now, where that was not written within NOTE_S."""
    await conn.execute(_NOTE, id)


async def add(
    conn: Connection,
    digest: bytes,
    hint: str,
    kind: Kind,
    name: str,
    role: Role,
    owners: Sequence[str],
    branch: str | None,
    by: str,
    days: int | None,
) -> Token:
    """Store one. *days*: until it expires; None: it does not."""
    row = await conn.fetchrow(_ADD, digest, hint, kind, name, role, list(owners), branch, by, days)
    assert row is not None
    return Token(*row)


async def every(conn: Connection | Pool) -> list[Token]:
    """All of them, in the order in which they were made; also those that have ended."""
    return [Token(*row) for row in await conn.fetch(_EVERY)]


async def find(conn: Connection | Pool, id: int) -> Token | None:
    """That of *id*."""
    row = await conn.fetchrow(_ONE, id)
    return None if row is None else Token(*row)


async def revoke(conn: Connection, id: int, by: str) -> bool:
    """Revoke it. Returns whether that has changed something."""
    return bool(await conn.execute(_REVOKE, id, by) == "UPDATE 1")
