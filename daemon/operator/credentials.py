"""Accounts at providers that an operator stores, shows, replaces and deletes. No value leaves here in full."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from adapters.postgres import audit_log, credentials
from adapters.postgres.audit_log import Logged
from adapters.postgres.credentials import Stored
from adapters.postgres.pool import Pool
from daemon.messages.wiring import configured
from daemon.operator.faults import NotThere, Unusable
from daemon.settings.model import Settings
from daemon.stores.seal import NoKey, NotOpened, Seal, seal_of
from schemas.credentials import ACCOUNT, DEFAULT, SECRETS, secret_from, secret_from_token
from schemas.errors import Malformed

SHOWN: Final = 4
"""Characters at the end of a value that are shown, of one that is at least LONG."""

LONG: Final = 12


class NotUsable(Unusable):
    """What was given is no account: the text names what is wrong, and no value."""


class NoSuchAccount(NotThere):
    """No such account is stored."""


class Given(NamedTuple):
    """An account, checked. *values*: of its fields."""

    provider: str
    account: str
    values: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Given({self.provider}/{self.account})"


def given(provider: str, account: str, secret: Mapping[str, Any]) -> Given:
    """The account with these fields. Raises: NotUsable."""
    return Given(provider, _name(account), _checked(lambda: secret_from(provider, secret)))


def given_token(
    token: str,
    secret: str | None = None,
    number: str | None = None,
    provider: str | None = None,
    account: str = DEFAULT,
) -> Given:
    """The account as `schemas.credentials.secret_from_token` reads it. Raises: NotUsable."""
    of, values = _checked(lambda: secret_from_token(token, secret, number, provider))
    return Given(of, _name(account), values)


def _checked(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Malformed as exc:
        raise NotUsable(str(exc)) from None


def _name(account: str) -> str:
    if not ACCOUNT.fullmatch(account):
        raise NotUsable("account must be 1 to 60 letters, digits, dots, hyphens and underscores, the first no sign")
    return account


async def store(pool: Pool, settings: Settings, one: Given, by: str) -> tuple[dict[str, Any], bool]:
    """Store *one*, in the place of a former one. Returns how it is shown, and whether there was none. Raises: NotUsable
    where there is no key to encrypt with."""
    seal = _seal(settings, make=True)
    sealed = seal.close(one.provider, one.account, one.values)
    async with pool.acquire() as conn, conn.transaction():
        made = await credentials.put(conn, one.provider, one.account, sealed, seal.key_id, by)
        action = "credentials.stored" if made else "credentials.replaced"
        await audit_log.add(conn, [_logged(by, action, one.provider, one.account, {"fields": sorted(one.values)})])
        kept = await credentials.find(conn, one.provider, one.account)
    assert kept is not None
    return _document(kept, seal), made


async def listed(pool: Pool, settings: Settings) -> list[dict[str, Any]]:
    """All that are stored, masked."""
    rows = await credentials.every(pool)
    seal = _seal_to_look(settings) if rows else None
    return [_document(row, seal) for row in rows]


async def shown(pool: Pool, settings: Settings, provider: str, account: str) -> dict[str, Any]:
    """That of one account, masked. Raises: NoSuchAccount."""
    return _document(await _stored(pool, provider, account), _seal_to_look(settings))


async def holder(pool: Pool, settings: Settings, provider: str, name: str, value: str) -> str | None:
    """The stored account of *provider* whose field *name* is *value*; None: none of those that can be decrypted."""
    rows = [row for row in await credentials.every(pool) if row.provider == provider]
    seal = _seal_to_look(settings) if rows else None
    if seal is None:
        return None
    for row in rows:
        with suppress(NotOpened):
            if seal.open(row.provider, row.account, row.secret).get(name) == value:
                return row.account
    return None


def by_settings(settings: Settings, stored: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Provider -> whether its account `default` is the one that the settings name; false: a stored one goes before."""
    instead = {one["provider"] for one in stored if one["account"] == DEFAULT}
    return {provider: provider not in instead for provider in configured(settings)}


async def open_messages(pool: Pool, provider: str, account: str) -> int:
    """How many messages wait for a stored account. Raises: NoSuchAccount."""
    await _stored(pool, provider, account)
    return await credentials.open_messages(pool, provider, account)


async def delete(pool: Pool, provider: str, account: str, by: str) -> None:
    """Delete it. Raises: NoSuchAccount."""
    await _stored(pool, provider, account)
    async with pool.acquire() as conn, conn.transaction():
        if not await credentials.remove(conn, provider, account):
            raise _not_there()
        await audit_log.add(conn, [_logged(by, "credentials.deleted", provider, account, {})])


class Rotated(NamedTuple):
    """*names*: what another key than the first had encrypted. *lost*: what no key decrypts. Both PROVIDER/ACCOUNT."""

    names: Sequence[str]
    lost: Sequence[str]


async def rotate(pool: Pool, settings: Settings, by: str, *, dry_run: bool) -> Rotated:
    """Encrypt by the first key what another one has encrypted. Raises: NotUsable where there is no key."""
    seal = _seal(settings)
    names, lost = [], []
    async with pool.acquire() as conn, conn.transaction():
        for row in await credentials.every(conn):
            name = f"{row.provider}/{row.account}"
            try:
                values = seal.open(row.provider, row.account, row.secret)
            except NotOpened:
                lost.append(name)
                continue
            if row.key_id == seal.key_id:
                continue
            names.append(name)
            sealed = seal.close(row.provider, row.account, values)
            if not dry_run and await credentials.put_again(conn, row, sealed, seal.key_id):
                detail = {"from": row.key_id, "to": seal.key_id}
                await audit_log.add(conn, [_logged(by, "credentials.rotated", row.provider, row.account, detail)])
    return Rotated(names, lost)


def masked(value: str) -> str:
    """*value* as it may be shown: the last characters of a long one."""
    return f"***{value[-SHOWN:]}" if len(value) >= LONG else "***"


def _document(row: Stored, seal: Seal | None) -> dict[str, Any]:
    """The row as JSON. `secret` is null, and `error` says why, where it cannot be decrypted."""
    values, error = None, None
    try:
        values = None if seal is None else seal.open(row.provider, row.account, row.secret)
    except NotOpened as exc:
        error = str(exc)
    if seal is None:
        error = "there is no key: set FERRYMAN_SECRET_KEY"
    return {
        "provider": row.provider,
        "account": row.account,
        "secret": None if values is None else {name: _shown(name, value) for name, value in values.items()},
        "error": error,
        "key_id": row.key_id,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "created_by": row.created_by,
    }


def _shown(name: str, value: str) -> str:
    return value if name == "url" else masked(value)


def _seal(settings: Settings, *, make: bool = False) -> Seal:
    try:
        return seal_of(settings, make=make)
    except NoKey as exc:
        raise NotUsable(str(exc)) from None


def _seal_to_look(settings: Settings) -> Seal | None:
    try:
        return seal_of(settings)
    except NoKey:
        return None


def _logged(by: str, action: str, provider: str, account: str, detail: Mapping[str, Any]) -> Logged:
    return Logged(by, action, f"credentials:{provider}/{account}", detail)


async def _stored(pool: Pool, provider: str, account: str) -> Stored:
    """The row. Raises: NoSuchAccount, also for a name that no account can have."""
    row = None
    if provider in SECRETS and ACCOUNT.fullmatch(account):
        row = await credentials.find(pool, provider, account)
    if row is None:
        raise _not_there()
    return row


def _not_there() -> NoSuchAccount:
    return NoSuchAccount("there is no such account stored: see `ferryman credentials list`")
