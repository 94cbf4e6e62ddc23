"""A look at a Chatwoot: whose token it is, and the inbox that messages go through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from aiohttp import ClientSession

from adapters.http import Reply, coded
from adapters.ports import Probe, Sign
from adapters.probing import ask, named, no_way
from schemas.errors import ChannelDown, FerrymanError, Transient

TOKEN: Final = "Api-Access-Token"  # noqa: S105 - a header. Proxies drop api_access_token, as Chatwoot's pages spell it
_WHATSAPP: Final = ("Channel::Whatsapp", "Channel::Api", "Channel::TwilioSms")
"""The kinds of inboxes that can carry WhatsApp."""

_FEW: Final = 10


async def look(session: ClientSession, account: Mapping[str, str]) -> Sequence[Sign]:
    """See `Probe`: the profile of the token's owner, then the inboxes of the account."""
    base, headers = account["url"].rstrip("/"), {TOKEN: account["token"]}
    profile = await _read(session, f"{base}/api/v1/profile", headers)
    if not isinstance(profile, dict):
        raise coded(Transient("Chatwoot: JSON of another shape"), "other-shape")
    number = account["account_id"]
    found = profile.get("accounts")
    ids = [str(row.get("id")) for row in found if isinstance(row, dict)] if isinstance(found, list) else None
    if ids is not None and number not in ids:
        text = f"CHATWOOT_ACCOUNT_ID is {number}, and the token's owner has {', '.join(ids[:_FEW]) or 'no account'}"
        return [Sign("error", text, f"CHATWOOT_ACCOUNT_ID: {PLACES['chatwoot_account_id']}")]
    signs = [Sign("ok", f"chatwoot takes the token{_owner(profile)}")]
    try:
        inboxes = await _read(session, f"{base}/api/v1/accounts/{number}/inboxes", headers)
    except FerrymanError as exc:
        do = f"CHATWOOT_ACCOUNT_ID: {PLACES['chatwoot_account_id']}"
        return [*signs, Sign("error", f"the inboxes of the account cannot be read ({exc})", do)]
    return [*signs, _inbox(inboxes, account["inbox_id"])]


async def _read(session: ClientSession, url: str, headers: Mapping[str, str]) -> Any:
    return _judged(await ask(session, url, system="Chatwoot", headers=headers))


def _judged(reply: Reply) -> Any:
    text, code = f"Chatwoot: HTTP {reply.status}", f"http-{reply.status}"
    if reply.status == 429 or reply.status >= 500:
        raise coded(Transient(text), code)
    if not 200 <= reply.status < 300:
        raise coded(ChannelDown(text, channel="chatwoot"), code)
    try:
        return orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        raise coded(Transient(f"{text} with a body that is not JSON"), "not-json") from None


def _owner(profile: Mapping[str, Any]) -> str:
    name = named(profile.get("name"))
    return f"; it is {name}'s" if name else ""


def _inbox(found: Any, wanted: str) -> Sign:
    """What is said of the inbox *wanted*."""
    rows = found.get("payload") if isinstance(found, dict) else None
    inboxes = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    mine = next((row for row in inboxes if str(row.get("id")) == wanted), None)
    if mine is None:
        there = ", ".join(f"{row.get('id')} ({named(row.get('name'))})" for row in inboxes[:_FEW])
        text = f"the token's owner sees no inbox {wanted} in the account; there: {there or 'none'}"
        return Sign("error", text, f"CHATWOOT_WHATSAPP_INBOX_ID: {PLACES['chatwoot_whatsapp_inbox_id']}")
    name, kind = named(mine.get("name")), named(mine.get("channel_type"))
    if kind and kind not in _WHATSAPP:
        text = f"the inbox {wanted} ({name}) is a {kind.removeprefix('Channel::')}, which carries no WhatsApp"
        return Sign("warn", text, f"CHATWOOT_WHATSAPP_INBOX_ID: {PLACES['chatwoot_whatsapp_inbox_id']}")
    of_kind = f", a {kind.removeprefix('Channel::')}" if kind else ""
    return Sign("ok", f"the inbox {wanted} is {name or 'there'}{of_kind}")


def blamed(error: FerrymanError) -> Sequence[str]:
    """See `Probe`."""
    if error.code == "http-401":
        return ("chatwoot_api_access_token",)
    if error.code == "http-403":
        return ()
    return ("chatwoot_base_url",) if no_way(error) else ()


PLACES: Final = {
    "chatwoot_base_url": "the address at which you open Chatwoot, without a path",
    "chatwoot_api_access_token": "Chatwoot → Profile Settings → Access Token, of a user who is an agent of the inbox"
    " and not a bot",
    "chatwoot_account_id": "the number after /app/accounts/ in Chatwoot's address",
    "chatwoot_whatsapp_inbox_id": "Chatwoot → Settings → Inboxes → the inbox: the last number in its address",
}

PROBE: Final = Probe(
    system="chatwoot",
    values={
        "url": "chatwoot_base_url",
        "token": "chatwoot_api_access_token",
        "account_id": "chatwoot_account_id",
        "inbox_id": "chatwoot_whatsapp_inbox_id",
    },
    needs=("url", "token", "account_id"),
    places=PLACES,
    look=look,
    blamed=blamed,
)
