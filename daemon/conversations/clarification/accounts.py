"""Which account of a provider stands for the place where a person has written: the number's, or the inbox's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from daemon.accounts import CHATWOOT, META
from daemon.bus.worker import Outside
from daemon.conversations.clarification.answering import Whom
from daemon.messages.wiring import CHANNELS, LIVE, lacking
from schemas.credentials import DEFAULT

_NUMBER: Final = "phone_number_id"
_INBOX: Final = ("account_id", "inbox_id")


def account_of(outside: Outside, provider: str, whom: Whom) -> str | None:
    """The account of *provider* by which *whom* is answered; None: there is none. Where the system tells no number, it
    is the one of the settings or stored as `default`, or the only one there is."""
    known = _accounts(outside, provider)
    if provider == META and whom.number is not None:
        return next((name for name, values in known.items() if values.get(_NUMBER) == whom.number), None)
    if provider == CHATWOOT and whom.inbox is not None:
        wanted = (str(whom.account), str(whom.inbox))
        return next((name for name, values in known.items() if tuple(map(values.get, _INBOX)) == wanted), None)
    if DEFAULT in known:
        return DEFAULT
    return next(iter(known)) if len(known) == 1 else None


def _accounts(outside: Outside, provider: str) -> Mapping[str, Mapping[str, str]]:
    """The accounts of *provider* that send, with what names their number or inbox."""
    if provider not in CHANNELS:
        return {}
    settings, missing = outside.settings, lacking(outside.settings, provider)
    if LIVE in missing:
        return {}
    stored = [] if outside.credentials is None else outside.credentials.accounts(provider)
    known = {one.account: one.values for one in stored}
    if not missing and DEFAULT not in known:
        by_settings = {
            _NUMBER: settings.meta_phone_number_id,
            "account_id": settings.chatwoot_account_id,
            "inbox_id": settings.chatwoot_whatsapp_inbox_id,
        }
        known[DEFAULT] = {name: str(value) for name, value in by_settings.items()}
    return known
