"""A look at a CGB account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import ClientSession

from adapters.cgb.client import Rejection, judge
from adapters.ports import Probe, Sign
from adapters.probing import ask, named, no_way
from schemas.errors import FerrymanError


async def look(session: ClientSession, account: Mapping[str, str]) -> Sequence[Sign]:
    """See `Probe`: the account; in the style of CGB's documents, which has no such call, nobody's contact."""
    if account.get("style") == "documented":
        try:
            await _read(session, account, "/contacts/0", {"Authorization": f"Bearer {account['api_key']}"}, own=False)
        except Rejection as exc:
            if not exc.says_not_found:
                raise
        return [Sign("ok", "cgb takes the key")]
    found = await _read(session, account, "/accounts/me", {"X-ACCESS-TOKEN": account["api_key"]}, own=True)
    told = found if isinstance(found, dict) else {}
    name, people = named(told.get("name")), told.get("total_users")
    if told.get("active") is False:
        return [Sign("error", "CGB's account is not active", "see the account's plan and payment in CGB")]
    contacts = f", with {people} contacts" if isinstance(people, int) else ""
    return [Sign("ok", f"cgb takes the key; the account is {name or 'there'}{contacts}")]


async def _read(
    session: ClientSession, account: Mapping[str, str], path: str, headers: Mapping[str, str], *, own: bool
) -> Any:
    reply = await ask(session, account["url"].rstrip("/") + path, system="CGB", headers=headers)
    return judge(reply, write=False, private=(account["api_key"],), now=datetime.now(UTC), own=own)


def blamed(error: FerrymanError) -> Sequence[str]:
    """See `Probe`. CGB says in many ways that it does not take a key."""
    if no_way(error):
        return ("cgb_api_url",)
    return () if error.code.startswith(("http-5", "http-429")) else ("cgb_api_key", "cgb_api_url")


PROBE: Final = Probe(
    system="cgb",
    values={"url": "cgb_api_url", "api_key": "cgb_api_key", "style": "cgb_api_style"},
    needs=("url", "api_key"),
    places={
        "cgb_api_key": "app.chatgptbuilder.io → Settings → API: the access token of the account (page id, dot, rest)",
        "cgb_api_url": "https://app.chatgptbuilder.io/api, with its /api",
    },
    look=look,
    blamed=blamed,
)
