"""Whose token fetches a file that a provider keeps: the account's, of the settings or stored, that the message came by.

Meta tells the id of the number, and the addresses of Twilio hold the account. Whapi tells neither, nor does the
message of a number that is stored nowhere: then it is the account `default`, or the only one there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from yarl import URL

from adapters.conversation_ports import MediaSource, TokenFiles
from adapters.registry import MEDIA
from daemon.accounts import META, TWILIO, WHAPI, values_of
from daemon.bus.worker import Outside
from schemas.credentials import DEFAULT

_NEEDS: Final[Mapping[str, Sequence[str]]] = {
    META: ("url", "access_token"),
    TWILIO: ("url", "account_sid", "auth_token"),
    WHAPI: ("url", "token"),
}
"""Provider -> the values of its account that its files are fetched by."""

_NUMBER: Final = "phone_number_id"


class Source(NamedTuple):
    """The files of one *account*."""

    account: str
    files: MediaSource


class Media:
    """The accounts of *outside*; what they keep is fetched by *files*."""

    def __init__(self, outside: Outside, files: TokenFiles) -> None:
        self._outside = outside
        self._files = files

    async def source(self, system: str, number: str | None, url: str | None) -> Source | None:
        """Who fetches a file of *system* that came to *number* of ours, and is at *url*; None: no account is known."""
        if system not in _NEEDS:
            return None
        known = await self._accounts(system)
        account = chosen(system, known, number, url)
        if account is None:
            return None
        values = known[account]
        return Source(account, MEDIA[system]()(self._files, account=lambda: values))

    async def _accounts(self, system: str) -> dict[str, Mapping[str, str]]:
        """The accounts of *system* that have what files are fetched by. A stored `default` goes before the settings."""
        beside, needs = self._by_settings(system), _NEEDS[system]
        known = {DEFAULT: beside}
        stored = self._outside.credentials
        if stored is not None:
            await stored.of(system, DEFAULT, expected=False)  # it looks at the table where that was not done yet
            known |= {one.account: {"url": beside.get("url", ""), **one.values} for one in stored.accounts(system)}
        return {account: values for account, values in known.items() if all(values.get(name) for name in needs)}

    def _by_settings(self, system: str) -> dict[str, str]:
        settings = self._outside.settings
        values = values_of(settings, self._outside.secret, system, _NEEDS[system])
        return {**values, _NUMBER: settings.meta_phone_number_id or ""}


def chosen(system: str, known: Mapping[str, Mapping[str, str]], number: str | None, url: str | None) -> str | None:
    """The account of *known* (name -> values) that a file belongs to."""
    if system == META and number:
        named = [account for account, values in known.items() if values.get(_NUMBER) == number]
    elif system == TWILIO and url is not None:
        steps = _steps(url)
        named = [account for account, values in known.items() if values["account_sid"] in steps]
    else:
        named = []
    fits = named or list(known)
    return DEFAULT if DEFAULT in fits else fits[0] if named or len(fits) == 1 else None


def _steps(url: str) -> tuple[str, ...]:
    try:
        return URL(url).parts
    except ValueError:
        return ()
