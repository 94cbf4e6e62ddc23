"""By which account of a provider something is done to a message: by that of the number in whose chat it is."""

from __future__ import annotations

from typing import Final

from adapters.postgres import credentials
from adapters.postgres.chat_messages import ChatMessage
from adapters.postgres.pool import Pool
from daemon.accounts import META
from daemon.messages.wiring import configured
from daemon.operator.credentials import holder
from daemon.operator.faults import Conflict
from daemon.settings.model import Settings
from schemas.credentials import DEFAULT

_NUMBERS: Final = {META: ("phone_number_id", "meta_phone_number_id")}
"""Provider -> the field of a stored account, and the setting, that hold what it calls our number."""


class NoAccount(Conflict):
    """There is no account that has the number, or more than one may."""


async def account_of(pool: Pool, settings: Settings, message: ChatMessage) -> str:
    """The account of the message's provider whose number is in its chat. Raises: NoAccount."""
    if message.direction == "out":
        return message.account
    provider, number = message.provider, message.our_number
    stored = {account for of, account in await credentials.names(pool) if of == provider}
    if number is not None and provider in _NUMBERS:
        field, setting = _NUMBERS[provider]
        account = await holder(pool, settings, provider, field, number)
        if account is None and DEFAULT not in stored and getattr(settings, setting) == number:
            account = DEFAULT
        if account is None:
            raise NoAccount(f"no account of {provider} here has the number that the message came to: store it")
        return account
    there = stored | ({DEFAULT} if provider in configured(settings) else set())
    if DEFAULT in there or not there:
        return DEFAULT
    if len(there) > 1:
        raise NoAccount(
            f"{provider} does not tell to which account the message came: name one of {', '.join(sorted(there))}"
        )
    return there.pop()
