"""Accounts at providers, as far as answering a person goes."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from pydantic import SecretStr

from daemon.conversations.clarification.answering import AccountOf, Whom
from daemon.settings.model import Settings


def accounts(known: Mapping[tuple[str, str], Mapping[str, str]]) -> AccountOf:
    """Gives the account of *known* (by provider and name) whose number or inbox is that of whom is asked about."""

    def account_of(provider: str, whom: Whom) -> str | None:
        told = {"phone_number_id": whom.number, "account_id": whom.account, "inbox_id": whom.inbox}
        wanted = {name: str(value) for name, value in told.items() if value is not None}
        mine = {name: values for (of, name), values in known.items() if of == provider}
        return next((name for name, values in mine.items() if wanted.items() <= values.items()), None)

    return account_of


def outside_with(**settings: Any) -> Any:
    """An outside with these settings, and no stored account."""
    secret = {name: SecretStr(value) for name, value in settings.items() if name.endswith("token")}
    return SimpleNamespace(settings=Settings(**{**settings, **secret}), credentials=None)
