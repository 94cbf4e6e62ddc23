"""The operators: who may log in at the pages, and as what."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection, Pool
from schemas.principals import Role


class Operator(NamedTuple):
    """A row without its password."""

    id: int
    name: str
    role: Role
    created_at: datetime
    created_by: str
    logged_in_at: datetime | None
    disabled_at: datetime | None
    disabled_by: str | None


_COLUMNS: Final = ", ".join(Operator._fields)
_EVERY: Final = f"SELECT {_COLUMNS} FROM operators ORDER BY lower(name)"  # noqa: S608 - constants only
_FIND: Final = f"SELECT {_COLUMNS} FROM operators WHERE lower(name) = lower($1)"  # noqa: S608 - constants only
_LOCK: Final = f"{_FIND} FOR UPDATE"
_BY_ID: Final = f"SELECT {_COLUMNS} FROM operators WHERE id = $1"  # noqa: S608 - constants only
_ADD: Final = f"""
INSERT INTO operators (name, role, password, created_by) VALUES ($1, $2, $3, $4)
ON CONFLICT (lower(name)) DO NOTHING RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only
_PROOF: Final = "SELECT id, password FROM operators WHERE lower(name) = lower($1) AND disabled_at IS NULL"
_ADMINS: Final = "SELECT id FROM operators WHERE role = 'admin' AND disabled_at IS NULL AND id <> $1"
_HOLD: Final = "SELECT pg_advisory_xact_lock(hashtext('ferryman operators'))"


async def every(conn: Connection | Pool) -> list[Operator]:
    """All of them by name, also those who are disabled."""
    return [Operator(*row) for row in await conn.fetch(_EVERY)]


async def there_are(conn: Connection | Pool) -> bool:
    """Whether there is any."""
    return bool(await conn.fetchval("SELECT EXISTS (SELECT FROM operators)"))


async def hold(conn: Connection) -> None:
    """Wait until no other transaction holds the operators, and let none until this one has ended: there are no two
    first operators, and two admins do not end each other."""
    await conn.execute(_HOLD)


async def find(conn: Connection | Pool, name: str, *, lock: bool = False) -> Operator | None:
    """That of *name*; upper and lower case are equal. *lock*: it stays as it is until the transaction ends."""
    row = await conn.fetchrow(_LOCK if lock else _FIND, name)
    return None if row is None else Operator(*row)


async def by_id(conn: Connection | Pool, id: int) -> Operator | None:
    """That of *id*."""
    row = await conn.fetchrow(_BY_ID, id)
    return None if row is None else Operator(*row)


async def add(conn: Connection, name: str, role: Role, password: str | None, by: str) -> Operator | None:
    """Store one; None: the name is taken. *password*: its PHC string."""
    row = await conn.fetchrow(_ADD, name, role, password, by)
    return None if row is None else Operator(*row)


async def password_of(conn: Connection | Pool, name: str, *, lock: bool = False) -> tuple[int, str] | None:
    """The id and the PHC string of who may log in by *name*; None: nobody may. *lock*: as of `find`."""
    row = await conn.fetchrow(f"{_PROOF} FOR UPDATE" if lock else _PROOF, name)
    return None if row is None or row[1] is None else (row[0], row[1])


async def has_other_admin(conn: Connection, id: int) -> bool:
    """Whether somebody besides *id* is an admin who may log in. Call `hold` before."""
    return bool(await conn.fetch(_ADMINS, id))


async def set_role(conn: Connection, id: int, role: Role) -> None:
    """Give *id* the role."""
    await conn.execute("UPDATE operators SET role = $2 WHERE id = $1", id, role)


async def set_password(conn: Connection, id: int, password: str) -> None:
    """Give *id* the password of this PHC string."""
    await conn.execute("UPDATE operators SET password = $2 WHERE id = $1", id, password)


async def disable(conn: Connection, id: int, by: str) -> None:
    """Let *id* log in no more."""
    await conn.execute("UPDATE operators SET disabled_at = now(), disabled_by = $2 WHERE id = $1", id, by)


async def enable(conn: Connection, id: int) -> None:
    """Let *id* log in again."""
    await conn.execute("UPDATE operators SET disabled_at = NULL, disabled_by = NULL WHERE id = $1", id)


async def note_login(conn: Connection, id: int) -> None:
    """Write that *id* has logged in now."""
    await conn.execute("UPDATE operators SET logged_in_at = now() WHERE id = $1", id)
