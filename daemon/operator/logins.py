"""How operators log in: by name and password, or by a link that works once; and what a session may show unmasked.

A session is known by a token that its browser alone has. Postgres has the token's SHA-256.
"""

from __future__ import annotations

import ipaddress
import secrets
from hashlib import sha256
from typing import Any, Final, NamedTuple

from adapters.postgres import audit_log, operators, sessions
from adapters.postgres.audit_log import Logged
from adapters.postgres.pool import Connection, Pool
from adapters.postgres.sessions import Session
from daemon.operator import users
from daemon.operator.faults import Unusable
from daemon.operator.passwords import LONGEST, Passwords
from schemas.errors import FerrymanError

NOBODY: Final = "unknown"
"""The actor of a try by a name that is no operator's. What was typed is not kept: it may be a password."""

LONGEST_REASON: Final = 200
LONGEST_SUBJECT: Final = 200


class Wrong(FerrymanError):
    """The name or the password is not right, or the name may not log in: nobody is told which."""


class MustWait(FerrymanError):
    """Too many tries by this name or from this address. *seconds*: before the next one."""

    def __init__(self, seconds: float) -> None:
        super().__init__("too many tries: wait before the next one")
        self.seconds = seconds


class LinkEnded(FerrymanError):
    """The link was followed before, or has expired, or there never was one."""


class Browser(NamedTuple):
    """Where somebody logs in. *address*: of the client; *agent*: what the browser calls itself."""

    address: str
    agent: str


async def log_in(pool: Pool, passwords: Passwords, name: str, password: str, browser: Browser) -> str:
    """Begin a session; returns its token. Raises: Wrong, MustWait, TooMany."""
    name = _possible(name)
    by_name, by_address = _subject("name", name.casefold()), _subject("address", _network(browser.address))
    async with pool.acquire() as conn, conn.transaction():
        wait_s = await sessions.begin_try(conn, [by_name, by_address])
    if wait_s > 0:
        raise MustWait(wait_s)
    known = await operators.password_of(pool, name)
    right = await passwords.is_right(_typed(password), known[1] if known else None)
    async with pool.acquire() as conn, conn.transaction():
        # what was checked must still hold: no password of yesterday begins a session of today
        if not right or known is None or await operators.password_of(conn, name, lock=True) != known:
            await _tell_failed(conn, name, browser)
        else:
            await sessions.forgive(conn, by_name, by_address)
            return await _begun(conn, known[0], browser, "login")
    raise Wrong("the name or the password is not right")


def _possible(name: str) -> str:
    """*name* as an operator may be called; "" for what nobody can be called, as Postgres takes no text of any kind."""
    try:
        return users.checked_name(name)
    except Unusable:
        return ""


def _typed(password: str) -> str:
    """*password*, cut where nobody has a longer one, without what is no text."""
    return password[: LONGEST + 1].encode("utf-8", "replace").decode()


async def log_out(pool: Pool, session: Session, token: str) -> None:
    """End *session*, which is that of *token*."""
    async with pool.acquire() as conn, conn.transaction():
        await sessions.end(conn, digest_of(token))
        await audit_log.add(conn, [Logged(session.name, "operator.logout", f"operator:{session.operator}", {})])


async def current(read: Pool, pool: Pool, token: str) -> Session | None:
    """The session of *token*, while it lives. *read*: where it is looked for; *pool*: where its use is noted."""
    found = await sessions.find(read, digest_of(token))
    if found is not None and found.stale:
        await sessions.note_use(pool, digest_of(token))
    return found


async def own_sessions(read: Pool, session: Session, token: str) -> list[dict[str, Any]]:
    """The sessions of whoever has *session*; `here` is that of *token*."""
    digest = digest_of(token)
    return [
        {"since": one.created_at, "seen": one.seen_at, "address": one.address, "agent": one.agent, "here": here}
        for one in await sessions.of(read, session.operator)
        for here in (one.digest == digest,)
    ]


async def end_others(pool: Pool, session: Session, token: str) -> None:
    """End every session of whoever has *session*, but that of *token*."""
    async with pool.acquire() as conn, conn.transaction():
        await sessions.end_others(conn, session.operator, digest_of(token))
        await audit_log.add(conn, [Logged(session.name, "operator.others_ended", f"operator:{session.operator}", {})])


async def lives(read: Pool, token: str) -> bool:
    """Whether the session of *token* lives. Asking is no use of it."""
    return await sessions.find(read, digest_of(token)) is not None


async def renewed(pool: Pool, operator: int, browser: Browser) -> str:
    """A session of somebody who has just proven who they are, in place of those that have ended."""
    async with pool.acquire() as conn, conn.transaction():
        return await _begun(conn, operator, browser, "password")


async def own_password(pool: Pool, passwords: Passwords, session: Session, old: str, new: str, browser: Browser) -> str:
    """Give whoever has *session* another password. Every session of theirs ends; returns the token of a new one.
    Raises: Wrong, MustWait, Unusable, TooMany."""
    users.checked_password(new)
    token = await log_in(pool, passwords, session.name, old, browser)
    await log_out(pool, session, token)
    await users.set_password(pool, passwords, session.name, new, session.name)
    return await renewed(pool, session.operator, browser)


async def make_link(pool: Pool, operator: int | None) -> str:
    """A token that logs *operator* in once, within 15 minutes. None: it makes the first operator."""
    token = secrets.token_urlsafe(32)
    async with pool.acquire() as conn, conn.transaction():
        await sessions.end_links(conn, operator)
        await sessions.add_link(conn, digest_of(token), operator)
    return token


async def first_link(pool: Pool) -> str | None:
    """A link that makes the first operator; None: there is one."""
    return None if await operators.there_are(pool) else await make_link(pool, None)


async def demo_link(pool: Pool, name: str, by: str) -> str:
    """A link that logs *name* in, an admin without a password who is made where there is none."""
    async with pool.acquire() as conn, conn.transaction():
        one = await operators.find(conn, name) or await users.added(conn, name, "admin", None, by)
    return await make_link(pool, one.id)


async def link_makes_first(pool: Pool, token: str) -> bool:
    """Whether the link makes the first operator; else it logs one in. Raises: LinkEnded."""
    found = await sessions.link(pool, digest_of(token))
    if found is None or (found.operator is None and await operators.there_are(pool)):
        raise LinkEnded("this link was used, or has expired")
    return found.operator is None


async def follow(pool: Pool, token: str, browser: Browser) -> str:
    """Log in by a link; returns the session's token. Raises: LinkEnded."""
    async with pool.acquire() as conn, conn.transaction():
        found = await sessions.follow(conn, digest_of(token))
        one = None if found is None or found.operator is None else await operators.by_id(conn, found.operator)
        if one is None or one.disabled_at is not None:
            raise LinkEnded("this link was used, or has expired")
        return await _begun(conn, one.id, browser, "link")


async def make_first(pool: Pool, passwords: Passwords, token: str, name: str, password: str, browser: Browser) -> str:
    """Make the first operator, an admin, by a link; returns the token of their session. Raises: LinkEnded; Unusable,
    after which the link works still; TooMany."""
    name, password = users.checked_name(name), users.checked_password(password)
    if not await link_makes_first(pool, token):
        raise LinkEnded("this link logs in, and makes nobody")
    phc = await passwords.hashed(password)
    async with pool.acquire() as conn, conn.transaction():
        await operators.hold(conn)
        found = await sessions.follow(conn, digest_of(token))
        if found is None or found.operator is not None or await operators.there_are(conn):
            raise LinkEnded("this link was used, or has expired")
        made = await users.added(conn, name, "admin", phc, name)
        return await _begun(conn, made.id, browser, "first link")


async def reveal(pool: Pool, token: str, by: str, subject: str, reason: str) -> None:
    """Show *subject* ("kind:id") unmasked in the session of *token* for ten minutes. Raises: Unusable."""
    kind, colon, id = subject.partition(":")
    if not (colon and kind.isidentifier() and id and id.isprintable() and len(subject) <= LONGEST_SUBJECT):
        raise Unusable("this is nothing that can be revealed")
    reason = reason.strip()
    if not reason or len(reason) > LONGEST_REASON or not reason.isprintable():
        raise Unusable(f"say why, in 1 to {LONGEST_REASON} characters on one line")
    async with pool.acquire() as conn, conn.transaction():
        await sessions.reveal(conn, digest_of(token), subject)
        await audit_log.add(conn, [Logged(by, "person.revealed", subject, {"reason": reason})])


async def revealed(pool: Pool, token: str) -> frozenset[str]:
    """What the session of *token* shows unmasked."""
    return await sessions.revealed(pool, digest_of(token))


def digest_of(token: str) -> bytes:
    """What is stored of a token."""
    return sha256(token.encode(errors="surrogatepass")).digest()


async def _begun(conn: Connection, operator: int, browser: Browser, how: str) -> str:
    """Begin a session of *operator*; returns its token, which is always a new one: none that was there before the login
    is of use after it."""
    token = secrets.token_urlsafe(32)
    one = await operators.by_id(conn, operator)
    assert one is not None
    await operators.note_login(conn, operator)
    await sessions.add(conn, digest_of(token), operator, browser.address, browser.agent)
    detail = {"how": how, "address": browser.address}
    await audit_log.add(conn, [Logged(one.name, "operator.login", f"operator:{operator}", detail)])
    return token


async def _tell_failed(conn: Connection, name: str, browser: Browser) -> None:
    one = await operators.find(conn, name)
    actor, subject = (NOBODY, "operator:none") if one is None else (one.name, f"operator:{one.id}")
    detail: dict[str, Any] = {"address": browser.address}
    await audit_log.add(conn, [Logged(actor, "operator.login_failed", subject, detail)])


def _subject(kind: str, text: str) -> bytes:
    return digest_of(f"{kind}:{text}")


def _network(address: str) -> str:
    """The network that one client has: of IPv6 a /64, of which it may use any address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else address
