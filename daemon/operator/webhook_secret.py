"""Where the secret of a webhook is kept that an outside system has made: with the stored accounts, encrypted, so that
running daemons take it within seconds; or in the operator's own hands."""

from __future__ import annotations

from typing import Final, Protocol

from adapters.postgres.pool import Pool
from daemon.operator import credentials
from daemon.settings.in_force import secrets_of
from daemon.settings.model import Settings

PROVIDER: Final = "chatwoot"
ACCOUNT: Final = "webhook"
"""The stored account that holds the secret of Chatwoot's webhook, and nothing else: it sends no messages."""

FIELD: Final = "webhook_secret"
SETTING: Final = "chatwoot_webhook_secret"


class Keeper(Protocol):
    """Keeps a secret. *would*: what it is about to do with one, as `stored`."""

    would: str

    async def where(self, secret: str) -> str | None:
        """What is to be said of where it is already; None: nowhere."""
        ...

    async def keep(self, secret: str) -> str:
        """Keep it; returns what is to be said about that. Raises: NotUsable where it cannot."""
        ...


class Stored:
    """Keeps it in the table of accounts. *by*: who stores it, for the record."""

    would = "stored, encrypted"

    def __init__(self, pool: Pool, settings: Settings, by: str) -> None:
        self._pool = pool
        self._settings = settings
        self._by = by

    async def where(self, secret: str) -> str | None:
        """See Keeper. Any account that holds it will do."""
        if secret in secrets_of(self._settings, SETTING):
            return f"{SETTING.upper()} has it"
        account = await credentials.holder(self._pool, self._settings, PROVIDER, FIELD, secret)
        return None if account is None else f"it is stored, as the account {PROVIDER}/{account}"

    async def keep(self, secret: str) -> str:
        """See Keeper."""
        one = credentials.given(PROVIDER, ACCOUNT, {FIELD: secret})
        await credentials.store(self._pool, self._settings, one, self._by)
        return f"it is stored as the account {PROVIDER}/{ACCOUNT}: running daemons take it within five seconds"


class Revealed:
    """Stores nothing: *secret* is shown to the operator, who keeps it."""

    would = "shown"

    def __init__(self) -> None:
        self.secret: str | None = None

    async def where(self, secret: str) -> str | None:
        """See Keeper."""
        return None

    async def keep(self, secret: str) -> str:
        """See Keeper."""
        self.secret = secret
        return "it is shown below, and stored nowhere"
