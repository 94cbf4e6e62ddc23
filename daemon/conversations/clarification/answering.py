"""By which account a person is answered: the one by which they have written, where it can. Values in, values out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from schemas.conversations import CHATWOOT
from schemas.phone import Phone
from schemas.told import WHATSAPP

NO_PHONE: Final = "the person has no phone number, and messages are sent to phone numbers alone"
NO_SENDER: Final = "no provider of messages is configured that could answer"
OTHER_CHANNEL: Final = "the person writes by another channel than WhatsApp, and messages are sent by WhatsApp alone"
OTHER_INBOX: Final = "the conversation is in an inbox that no account of Chatwoot here sends by"


class Whom(NamedTuple):
    """Where a person writes. *number*: the system's own id of our number; *account*, *inbox*,
    *conversation*: Chatwoot's numbers."""

    system: str
    phone: str | None
    channel: str | None = WHATSAPP
    number: str | None = None
    account: int | None = None
    inbox: int | None = None
    conversation: int | None = None


class Way(NamedTuple):
    """The account of a provider by which a person is answered, and Chatwoot's number of the *conversation* in which."""

    provider: str
    account: str
    phone: Phone
    conversation: int | None = None


class NoWay(NamedTuple):
    """They cannot be answered: why, as a sentence."""

    why: str


AccountOf = Callable[[str, Whom], str | None]
"""Gives the account of a provider that stands for where a person writes; None: there is none."""


def way_to(whom: Whom, account_of: AccountOf, default: str) -> Way | NoWay:
    """How a person is answered. *default*: the provider where the system that they write by sends nothing."""
    if whom.phone is None:
        return NoWay(NO_PHONE)
    if whom.channel not in (WHATSAPP, None):
        return NoWay(OTHER_CHANNEL)
    phone = Phone.parse_e164(whom.phone)
    if (account := account_of(whom.system, whom)) is not None:
        return Way(whom.system, account, phone, whom.conversation if whom.system == CHATWOOT else None)
    if whom.system == CHATWOOT and whom.inbox is not None and account_of(CHATWOOT, Whom(CHATWOOT, whom.phone)):
        return NoWay(OTHER_INBOX)
    other = account_of(default, Whom(default, whom.phone))
    return NoWay(NO_SENDER) if other is None else Way(default, other, phone)


def number_in(chat: str) -> str | None:
    """Our number in the name of a chat of a system that is no CRM."""
    _, _, rest = chat.partition(":")
    return rest.partition(":")[0] or None
