"""Tokens of people and of edges: made, listed, revoked. A token is shown to whoever makes it, once, and is stored
nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast

from adapters.postgres import audit_log, tokens
from adapters.postgres.audit_log import Logged
from adapters.postgres.pool import Pool
from adapters.postgres.tokens import Kind, Token
from daemon.operator.faults import NotThere, Unusable
from schemas.principals import Role
from schemas.tokens import HINT, digest_of, new_token

ROLES: Final = ("read", "operate", "admin")
LONGEST_NAME: Final = 100
"""As long as the user of an operation may be."""

MOST_OWNERS: Final = 1000
MOST_DAYS: Final = 3650


class Wanted(NamedTuple):
    """A token to make. *days*: until it expires; None: it does not."""

    kind: Kind
    name: str
    role: Role
    owners: Sequence[str]
    branch: str | None
    days: int | None


def wanted(
    *,
    user: str | None,
    edge: str | None,
    owners: Sequence[str] = (),
    branch: str | None = None,
    role: str = "operate",
    days: int | None = None,
) -> Wanted:
    """The token of a person, or of an edge, checked. Raises: Unusable."""
    if (user is None) == (edge is None):
        raise Unusable("a token is for a user or for an edge: name one of them")
    if role not in ROLES:
        raise Unusable(f"role must be one of {', '.join(ROLES)}")
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise Unusable(f"expires must be 1 to {MOST_DAYS} days")
    if branch is not None:
        branch = _name("branch", branch)
    found = list(dict.fromkeys(_name("owners", owner) for owner in owners))
    if len(found) > MOST_OWNERS:
        raise Unusable(f"owners has more than {MOST_OWNERS} entries: name a branch instead")
    if user is not None:
        if found:
            raise Unusable("owners is for an edge: a user's token is for the user's own records")
        return Wanted("user", _name("user", user), cast(Role, role), (), branch, days)
    if role == "admin":
        raise Unusable("an edge carries the records of its owners: its role is read or operate")
    if not found and branch is None:
        raise Unusable("an edge needs owners or branch: whose records it carries")
    return Wanted("edge", _name("edge", cast(str, edge)), cast(Role, role), found, branch, days)


def _name(what: str, text: str) -> str:
    """*text* as principals and owners are called. Raises: Unusable."""
    name = text.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Unusable(f"{what} must have 1 to {LONGEST_NAME} printable characters")
    return name


async def create(pool: Pool, one: Wanted, by: str) -> dict[str, Any]:
    """Make it. Returns how it is shown, with the member `token`: it is told here and never again."""
    token = new_token()
    async with pool.acquire() as conn, conn.transaction():
        kept = await tokens.add(
            conn, digest_of(token), token[-HINT:], one.kind, one.name, one.role, one.owners, one.branch, by, one.days
        )
        detail = {"kind": one.kind, "role": one.role, "owners": len(one.owners), "days": one.days}
        await audit_log.add(conn, [Logged(by, "token.created", f"token:{kept.id}", detail)])
    return {"token": token, **_document(kept)}


async def listed(pool: Pool) -> list[dict[str, Any]]:
    """All tokens in the order in which they were made, also those that have ended."""
    return [_document(row) for row in await tokens.every(pool)]


async def shown(pool: Pool, id: int) -> dict[str, Any]:
    """One token. Raises: NotThere."""
    row = await tokens.find(pool, id)
    if row is None:
        raise NotThere("there is no token with this id: see `ferryman tokens list`")
    return _document(row)


async def revoke(pool: Pool, id: int, by: str) -> bool:
    """Revoke it: every process refuses it within five seconds. Whether that was done now: one that was revoked before
    stays as it is. Raises: NotThere."""
    async with pool.acquire() as conn, conn.transaction():
        if await tokens.revoke(conn, id, by):
            await audit_log.add(conn, [Logged(by, "token.revoked", f"token:{id}", {})])
            return True
    await shown(pool, id)
    return False


def _document(row: Token) -> dict[str, Any]:
    """The row as JSON, with its `state`: active, expired or revoked."""
    expired = row.expires_at is not None and row.expires_at <= datetime.now(UTC)
    state = "revoked" if row.revoked_at else "expired" if expired else "active"
    return {**row._asdict(), "state": state}
