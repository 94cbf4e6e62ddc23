"""A look at a Whapi channel: whether a phone is linked to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from aiohttp import ClientSession

from adapters.ports import Probe, Sign
from adapters.probing import ask, named, no_way
from adapters.whapi.client import judge
from schemas.errors import FerrymanError

_LINKED: Final = "AUTH"


async def look(session: ClientSession, account: Mapping[str, str]) -> Sequence[Sign]:
    """See `Probe`: the channel's health."""
    headers = {"Authorization": f"Bearer {account['token']}"}
    reply = await ask(session, f"{account['url'].rstrip('/')}/health", system="Whapi", headers=headers)
    status = judge(reply, write=False, private=(account["token"],), now=datetime.now(UTC)).get("status")
    state = named(status.get("text") if isinstance(status, dict) else status)
    if state == _LINKED:
        return [Sign("ok", "whapi takes the token; a phone is linked to the channel")]
    if not state:
        return [Sign("warn", "whapi takes the token, and does not say whether a phone is linked", _LINK)]
    return [Sign("error", f"Whapi's channel cannot send: its state is {state}", _LINK)]


def blamed(error: FerrymanError) -> Sequence[str]:
    """See `Probe`. Whapi answers 404 for a token that it does not know."""
    if error.code.startswith(("http-401", "http-403")):
        return ("whapi_token",)
    if error.code.startswith("http-404"):
        return "whapi_token", "whapi_api_url"
    return ("whapi_api_url",) if no_way(error) else ()


_LINK: Final = "panel.whapi.cloud → the channel: link the phone by its QR code"

PROBE: Final = Probe(
    system="whapi",
    values={"url": "whapi_api_url", "token": "whapi_token"},
    needs=("url", "token"),
    places={
        "whapi_token": "panel.whapi.cloud → the channel → API token",
        "whapi_api_url": "panel.whapi.cloud → the channel → API URL (https://gate.whapi.cloud)",
    },
    look=look,
    blamed=blamed,
)
