"""A look at a number of Meta's Cloud API: its state, its quality, its limits, and whether an app hears of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import ClientSession

from adapters.meta.client import judge
from adapters.ports import Probe, Sign
from adapters.probing import ask, named, no_way
from schemas.errors import FerrymanError

_FIELDS: Final = (
    "display_phone_number,verified_name,quality_rating,status,throughput,whatsapp_business_manager_messaging_limit"
)
_FEW_FIELDS: Final = "display_phone_number,verified_name,quality_rating"
"""What every version of the API knows."""

_NO_FIELD: Final = "meta-100"
_TOKEN: Final = re.compile(r"meta-(?:0|3|10|190|2\d\d|131005)|http-40[13]")
"""Our codes for a token that is wrong, or may not do this."""

_NO_OBJECT: Final = "meta-33"


async def look(session: ClientSession, account: Mapping[str, str]) -> Sequence[Sign]:
    """See `Probe`: the number; where `waba_id` is given, the apps that hear of its account."""
    url, headers = account["url"].rstrip("/"), {"Authorization": f"Bearer {account['access_token']}"}
    number = f"{url}/{account['phone_number_id']}"
    try:
        found = await _read(session, number, headers, _FIELDS)
    except FerrymanError as exc:
        if exc.code != _NO_FIELD:
            raise
        found = await _read(session, number, headers, _FEW_FIELDS)
    signs = _of_the_number(found)
    if waba_id := account.get("waba_id"):
        signs.append(await _subscribed(session, f"{url}/{waba_id}/subscribed_apps", headers))
    return signs


async def _read(session: ClientSession, url: str, headers: Mapping[str, str], fields: str | None = None) -> Any:
    params = None if fields is None else {"fields": fields}
    reply = await ask(session, url, system="Meta", headers=headers, params=params)
    return judge(reply, _object, channel="meta", write=False, private=(), now=datetime.now(UTC))


def _object(data: Any) -> Any:
    return data if isinstance(data, dict) and "error" not in data else None


def _of_the_number(found: Mapping[str, Any]) -> list[Sign]:
    throughput = found.get("throughput")
    told = {
        "quality": named(found.get("quality_rating")),
        "state": named(found.get("status")),
        "people a day": named(found.get("whatsapp_business_manager_messaging_limit")),
        "throughput": named(throughput.get("level")) if isinstance(throughput, dict) else "",
    }
    who = " ".join(filter(None, (named(found.get("display_phone_number")), named(found.get("verified_name")))))
    what = ", ".join(f"{name} {value}" for name, value in told.items() if value)
    signs = [
        Sign("ok", f"meta takes the token; the number{f' is {who}' if who else ' is there'}{what and f': {what}'}")
    ]
    if told["quality"] == "RED":
        do = "send less, and only what people have asked for: WhatsApp Manager → Phone numbers says why"
        signs.append(Sign("warn", "the quality of Meta's number is low: Meta may lower its limit or block it", do))
    if told["state"] not in ("", "CONNECTED"):
        do = "see WhatsApp Manager → Phone numbers"
        signs.append(Sign("error", f"Meta's number cannot send: its state is {told['state']}", do))
    return signs


async def _subscribed(session: ClientSession, url: str, headers: Mapping[str, str]) -> Sign:
    """Whether any app hears of the account. A token need not be allowed to ask, so a refusal is no error."""
    try:
        apps = (await _read(session, url, headers)).get("data")
    except FerrymanError as exc:
        do = f"compare META_WABA_ID with {PLACES['meta_waba_id']}"
        return Sign("warn", f"which apps hear of the WhatsApp Business account is not known ({exc})", do)
    if isinstance(apps, list) and apps:
        return Sign("ok", f"{len(apps)} of Meta's apps hear of the WhatsApp Business account")
    do = "POST to META_WABA_ID/subscribed_apps with the token of your app, once"
    return Sign("warn", "no app hears of the WhatsApp Business account: Meta sends no webhook", do)


def blamed(error: FerrymanError) -> Sequence[str]:
    """See `Probe`."""
    if _TOKEN.fullmatch(error.code):
        return ("meta_access_token",)
    if error.code == _NO_OBJECT:
        return "meta_phone_number_id", "meta_access_token"
    return ("meta_graph_url",) if no_way(error) else ()


PLACES: Final = {
    "meta_phone_number_id": "developers.facebook.com → your app → WhatsApp → API Setup → Phone number ID, below From"
    " (not the phone)",
    "meta_access_token": "business.facebook.com → Settings → System users → Generate token, with the permissions"
    " whatsapp_business_messaging and whatsapp_business_management; a token of API Setup ends after a day",
    "meta_waba_id": "developers.facebook.com → your app → WhatsApp → API Setup → WhatsApp Business Account ID",
    "meta_graph_url": "https://graph.facebook.com and a version, as in https://graph.facebook.com/v23.0",
}

PROBE: Final = Probe(
    system="meta",
    values={
        "url": "meta_graph_url",
        "phone_number_id": "meta_phone_number_id",
        "access_token": "meta_access_token",
        "waba_id": "meta_waba_id",
    },
    needs=("url", "phone_number_id", "access_token"),
    places=PLACES,
    look=look,
    blamed=blamed,
)
