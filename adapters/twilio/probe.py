"""A look at a Twilio account and at its WhatsApp sender."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

from aiohttp import ClientSession

from adapters.ports import Probe, Sign
from adapters.probing import ask, named, no_way
from adapters.twilio.client import Account, judge_read
from schemas.errors import FerrymanError

SANDBOX: Final = "+14155238886"
"""The number of Twilio's sandbox, which belongs to no account."""

_PAGE: Final = 100
_DOWN: Final = frozenset({"twilio-20003", "twilio-20404", "http-401", "http-403"})


async def look(session: ClientSession, account: Mapping[str, str]) -> Sequence[Sign]:
    """See `Probe`: the account, and where `whatsapp_number` is given the sender."""
    known = Account(account["url"], account["account_sid"], account["auth_token"])
    url = f"{known.url.rstrip('/')}/2010-04-01/Accounts/{quote(known.sid, safe='')}.json"
    signs = [_of_the_account(await _read(session, known, url))]
    if number := account.get("whatsapp_number"):
        signs.append(await _sender(session, known, number))
    return signs


async def _read(
    session: ClientSession, account: Account, url: str, params: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    reply = await ask(session, url, system="Twilio", headers=account.headers, params=params)
    return judge_read(reply, private=(account.sid, account.token), now=datetime.now(UTC))


def _of_the_account(found: Mapping[str, Any]) -> Sign:
    name, state = named(found.get("friendly_name")), named(found.get("status"))
    if state not in ("", "active"):
        do = "see Account → Billing at console.twilio.com"
        return Sign("error", f"Twilio's account sends nothing: it is {state}", do)
    trial = ", a trial: it sends to verified numbers only" if found.get("type") == "Trial" else ""
    return Sign("ok", f"twilio takes the token; the account is {name or 'there'}{trial}")


async def _sender(session: ClientSession, account: Account, number: str) -> Sign:
    """Whether *number* is a WhatsApp sender of the account."""
    if number == SANDBOX:
        return Sign("warn", "TWILIO_WHATSAPP_NUMBER is Twilio's sandbox: it reaches only people who have joined it", "")
    params = {"Channel": "whatsapp", "PageSize": str(_PAGE)}
    try:
        found = await _read(session, account, f"{_messaging(account.url)}/v2/Channels/Senders", params)
    except FerrymanError as exc:
        return Sign("warn", f"Twilio does not tell whether TWILIO_WHATSAPP_NUMBER is a sender ({exc})", _LOOK_SELF)
    rows = found.get("senders")
    if not isinstance(rows, list):
        return Sign("warn", "Twilio does not tell whether TWILIO_WHATSAPP_NUMBER is a sender", _LOOK_SELF)
    senders = [row for row in rows if isinstance(row, dict)]
    mine = next((row for row in senders if row.get("sender_id") == f"whatsapp:{number}"), None)
    if mine is not None:
        state = named(mine.get("status"))
        if state == "" or state.startswith("ONLINE"):
            return Sign("ok", "TWILIO_WHATSAPP_NUMBER is a WhatsApp sender of the account")
        return Sign("error", f"TWILIO_WHATSAPP_NUMBER cannot send: its state is {state}", _LOOK_SELF)
    if len(senders) >= _PAGE:
        return Sign("warn", f"TWILIO_WHATSAPP_NUMBER is not among the first {_PAGE} senders", _LOOK_SELF)
    text = f"TWILIO_WHATSAPP_NUMBER is no WhatsApp sender of the account, which has {len(senders)}"
    return Sign("error", text, f"TWILIO_WHATSAPP_NUMBER: {PLACES['twilio_whatsapp_number']}")


def _messaging(url: str) -> str:
    """The address of Twilio's API of senders, which has a host of its own beside *url*."""
    parts = urlsplit(url)
    host = parts.netloc
    if host.startswith("api.") and host.endswith(".twilio.com"):
        host = f"messaging.{host.removeprefix('api.')}"
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"


def blamed(error: FerrymanError) -> Sequence[str]:
    """See `Probe`."""
    if error.code in _DOWN:
        return "twilio_account_sid", "twilio_auth_token"
    if error.code == "http-404":
        return "twilio_account_sid", "twilio_api_url"
    return ("twilio_api_url",) if no_way(error) else ()


PLACES: Final = {
    "twilio_account_sid": "console.twilio.com → Account Dashboard → Account Info → Account SID (AC and 32 characters)",
    "twilio_auth_token": "console.twilio.com → Account Dashboard → Account Info → Auth Token, of the same account",
    "twilio_whatsapp_number": "console.twilio.com → Messaging → Senders → WhatsApp senders",
    "twilio_api_url": "https://api.twilio.com, unless your account lives in another region",
}
_LOOK_SELF: Final = f"see {PLACES['twilio_whatsapp_number']}"

PROBE: Final = Probe(
    system="twilio",
    values={
        "url": "twilio_api_url",
        "account_sid": "twilio_account_sid",
        "auth_token": "twilio_auth_token",
        "whatsapp_number": "twilio_whatsapp_number",
    },
    needs=("url", "account_sid", "auth_token"),
    places=PLACES,
    look=look,
    blamed=blamed,
)
