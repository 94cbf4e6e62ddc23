"""Operators, who log in at the pages: added, listed, given a role or a password, disabled. What changes what somebody
may do ends their sessions."""

from __future__ import annotations

from typing import Any, Final, cast

from adapters.postgres import audit_log, operators, sessions
from adapters.postgres.audit_log import Logged
from adapters.postgres.operators import Operator
from adapters.postgres.pool import Connection, Pool
from daemon.operator.faults import Conflict, NotThere, Unusable
from daemon.operator.passwords import LONGEST, SHORTEST, Passwords
from schemas.principals import Role

ROLES: Final = ("read", "operate", "admin")
LONGEST_NAME: Final = 60

_NONE: Final = "there is no operator of this name: see `ferryman users list`"
_LAST: Final = "this is the only admin: make another one first"


def checked_name(text: str) -> str:
    """*text* as an operator may be called. Raises: Unusable."""
    name = text.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Unusable(f"a name has 1 to {LONGEST_NAME} printable characters")
    return name


def checked_role(text: str) -> Role:
    """*text* as a role. Raises: Unusable."""
    if text not in ROLES:
        raise Unusable(f"the role must be one of {', '.join(ROLES)}")
    return cast(Role, text)


def checked_password(text: str) -> str:
    """*text* as a password. Raises: Unusable."""
    if not SHORTEST <= len(text) <= LONGEST:
        raise Unusable(f"a password has {SHORTEST} to {LONGEST} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unusable("a password must be text") from None
    return text


async def add(pool: Pool, passwords: Passwords, name: str, role: str, password: str, by: str) -> dict[str, Any]:
    """Make an operator. Raises: Unusable; Conflict, where the name is taken; TooMany."""
    name, known = checked_name(name), checked_role(role)
    phc = await passwords.hashed(checked_password(password))
    async with pool.acquire() as conn, conn.transaction():
        return document(await added(conn, name, known, phc, by))


async def added(conn: Connection, name: str, role: Role, phc: str | None, by: str) -> Operator:
    """Store one with its row of the audit log. Raises: Conflict."""
    made = await operators.add(conn, name, role, phc, by)
    if made is None:
        raise Conflict("there is an operator of this name: choose another one")
    await audit_log.add(conn, [Logged(by, "operator.added", f"operator:{made.id}", {"name": name, "role": role})])
    return made


async def listed(pool: Pool) -> list[dict[str, Any]]:
    """All of them by name, also those who are disabled."""
    return [document(one) for one in await operators.every(pool)]


async def shown(pool: Pool, name: str) -> dict[str, Any]:
    """One of them. Raises: NotThere."""
    return document(await _find(pool, name))


async def set_role(pool: Pool, name: str, role: str, by: str) -> dict[str, Any]:
    """Give *name* the role; their sessions end. Raises: NotThere, Unusable, Conflict for the only admin."""
    known = checked_role(role)
    async with pool.acquire() as conn, conn.transaction():
        await operators.hold(conn)
        one = await _find(conn, name, lock=True)
        if one.role != known:
            await _require_admin_beside(conn, one)
            await operators.set_role(conn, one.id, known)
            await sessions.end_of(conn, one.id)
            detail = {"from": one.role, "to": known}
            await audit_log.add(conn, [Logged(by, "operator.role", f"operator:{one.id}", detail)])
    return await shown(pool, name)


async def set_password(pool: Pool, passwords: Passwords, name: str, password: str, by: str) -> dict[str, Any]:
    """Give *name* the password; their sessions and links end. Raises: NotThere, Unusable, TooMany."""
    phc = await passwords.hashed(checked_password(password))
    async with pool.acquire() as conn, conn.transaction():
        one = await _find(conn, name, lock=True)
        await operators.set_password(conn, one.id, phc)
        await _end_all(conn, one.id)
        await audit_log.add(conn, [Logged(by, "operator.password", f"operator:{one.id}", {})])
    return document(one)


async def disable(pool: Pool, name: str, by: str) -> dict[str, Any]:
    """Let *name* log in no more; their sessions and links end. Raises: NotThere, Conflict for the only admin."""
    async with pool.acquire() as conn, conn.transaction():
        await operators.hold(conn)
        one = await _find(conn, name, lock=True)
        if one.disabled_at is None:
            await _require_admin_beside(conn, one)
            await operators.disable(conn, one.id, by)
            await _end_all(conn, one.id)
            await audit_log.add(conn, [Logged(by, "operator.disabled", f"operator:{one.id}", {})])
    return await shown(pool, name)


async def enable(pool: Pool, name: str, by: str) -> dict[str, Any]:
    """Let *name* log in again, by the password that they had. Raises: NotThere."""
    async with pool.acquire() as conn, conn.transaction():
        one = await _find(conn, name, lock=True)
        if one.disabled_at is not None:
            await operators.enable(conn, one.id)
            await audit_log.add(conn, [Logged(by, "operator.enabled", f"operator:{one.id}", {})])
    return await shown(pool, name)


async def _find(conn: Connection | Pool, name: str, *, lock: bool = False) -> Operator:
    found = await operators.find(conn, name, lock=lock)
    if found is None:
        raise NotThere(_NONE)
    return found


async def _end_all(conn: Connection, id: int) -> None:
    await sessions.end_of(conn, id)
    await sessions.end_links(conn, id)


async def _require_admin_beside(conn: Connection, one: Operator) -> None:
    """Raises: Conflict, where *one* is the only admin."""
    if one.role == "admin" and one.disabled_at is None and not await operators.has_other_admin(conn, one.id):
        raise Conflict(_LAST)


def document(one: Operator) -> dict[str, Any]:
    """The operator as JSON, with their `state`: active or disabled."""
    return {**one._asdict(), "state": "active" if one.disabled_at is None else "disabled"}
