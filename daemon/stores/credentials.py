"""The stored credentials as this process has them: decrypted, in memory, renewed from the table again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from adapters.postgres import credentials
from adapters.postgres.credentials import Stored
from adapters.postgres.pool import Pool
from daemon.stores.seal import NoKey, NotOpened, Seal
from schemas.credentials import DEFAULT

LOOK_S: Final = 2.0
"""How often a process looks for changes."""

_BESIDE: Final = {
    "chatwoot_webhook_secret": ("chatwoot", "webhook_secret"),
    "meta_app_secret": ("meta", "app_secret"),
    "twilio_auth_token": ("twilio", "auth_token"),
    "whapi_webhook_secret": ("whapi", "webhook_secret"),
}
"""Setting -> the (provider, field) that proves webhooks as well as the setting does."""

_INSTEAD: Final = {"cgb_api_key": ("cgb", "api_key"), "whapi_token": ("whapi", "token")}
"""Setting -> the (provider, field) of the account `default` that is used in its place, also by other calls than those
that send."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """One account. *values*: of its fields. *error*: why they cannot be used; "" where they can."""

    provider: str
    account: str
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    error: str = ""


class Credentials:
    """What the table holds. *keys*: gives the keys that are in force, the first encrypts. *tells*: changes are told in
    the log."""

    def __init__(self, pool: Pool, keys: Callable[[], Sequence[str]], *, tells: bool = True) -> None:
        self._pool = pool
        self._keys = keys
        self._tells = tells
        self._looking = asyncio.Lock()
        self._seen: tuple[list[Stored], tuple[str, ...], str] | None = None
        self._held: dict[tuple[str, str], Held] = {}
        self._changed: set[tuple[str, str]] = set()

    async def load(self) -> None:
        """Look at the table, and take what has changed."""
        async with self._looking:  # the answer to an earlier look must not come after a later one's
            rows = await credentials.every(self._pool)
            keys, why = self._keys_now() if rows else ((), "")
            if self._seen == (rows, keys, why):
                return
            self._take(rows, Seal(keys) if keys else None, why)
            self._seen = rows, keys, why

    def _keys_now(self) -> tuple[tuple[str, ...], str]:
        """The keys, and why there are none."""
        try:
            return tuple(self._keys()), "FERRYMAN_SECRET_KEY is not set"
        except NoKey as exc:
            return (), str(exc)

    def _take(self, rows: Sequence[Stored], seal: Seal | None, why: str) -> None:
        held = {(row.provider, row.account): _opened(seal, row, why) for row in rows}
        for name in held.keys() | self._held.keys():
            now = held.get(name)
            if now != self._held.get(name):
                self._changed.add(name)
                if self._tells:
                    _tell(name, now)
        # one that is the same stays the same object: its sender is not made anew
        self._held = {name: self._held[name] if self._held.get(name) == one else one for name, one in held.items()}

    async def of(self, provider: str, account: str, *, expected: bool) -> Held | None:
        """The account, None where none is stored. *expected*: it is looked for in the table before that is said."""
        if self._seen is None or (expected and (provider, account) not in self._held):
            await self.load()
        return self._held.get((provider, account))

    def holds(self, provider: str, account: str) -> bool:
        """Whether the account is stored, as far as was seen."""
        return (provider, account) in self._held

    def accounts(self, provider: str) -> list[Held]:
        """The stored accounts of *provider*, as far as was seen."""
        return [one for (of, _), one in sorted(self._held.items()) if of == provider]

    def changes(self) -> frozenset[tuple[str, str]]:
        """The (provider, account) of all that have changed since this was last asked."""
        changed, self._changed = frozenset(self._changed), set()
        return changed

    @property
    def states(self) -> dict[str, str]:
        """PROVIDER/ACCOUNT -> why it cannot be used, "" where it can."""
        return {f"{one.provider}/{one.account}": one.error for _, one in sorted(self._held.items())}

    def awaited(self, setting: str) -> bool:
        """Whether `beside` may tell more of the *setting*, as the table has not been looked at yet."""
        return self._seen is None and setting in _BESIDE

    def beside(self, setting: str) -> list[str]:
        """The secrets of all accounts that prove a webhook as the *setting* (in lower case) does."""
        provider, name = _BESIDE.get(setting, ("", ""))
        return [one.values[name] for (of, _), one in self._held.items() if of == provider and name in one.values]

    def instead(self, setting: str) -> str | None:
        """What is used in the place of the *setting* (in lower case); None: the setting itself. An account with an
        address of its own serves messages alone."""
        provider, name = _INSTEAD.get(setting, ("", ""))
        one = self._held.get((provider, DEFAULT))
        return None if one is None or "url" in one.values else one.values.get(name)


def _tell(name: tuple[str, str], now: Held | None) -> None:
    said = {"provider": name[0], "account": name[1]}
    if now is None:
        log.info("credentials.gone", **said)
    elif now.error:
        log.error("credentials.not_usable", reason=now.error, **said)
    else:
        log.info("credentials.taken", **said)


def _opened(seal: Seal | None, row: Stored, why: str) -> Held:
    if seal is None:
        return Held(row.provider, row.account, error=why)
    try:
        return Held(row.provider, row.account, seal.open(row.provider, row.account, row.secret))
    except NotOpened as exc:
        return Held(row.provider, row.account, error=f"{exc} (it needs key {row.key_id})")
