"""Until when an access token of Meta's is valid."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientSession

from adapters.meta.client import judge
from adapters.probing import ask


async def valid_until(session: ClientSession, account: Mapping[str, str]) -> datetime | None:
    """The end of the token of *account*; None where it has none, as a system user's may. Raises as `judge` does: not
    every token may ask about itself."""
    token = account["access_token"]
    reply = await ask(
        session,
        f"{account['url'].rstrip('/')}/debug_token",
        system="Meta",
        headers={"Authorization": f"Bearer {token}"},
        params={"input_token": token},
    )
    told = judge(reply, _told, channel="meta", write=False, private=(token,), now=datetime.now(UTC))
    try:
        return datetime.fromtimestamp(told["expires_at"], UTC) if told["expires_at"] else None
    except (OverflowError, ValueError, OSError):
        return None  # no year that there is


def _told(data: Any) -> Any:
    told = data.get("data") if isinstance(data, dict) else None
    whole = isinstance(told, dict) and isinstance(told.get("expires_at"), int)
    return told if whole else None
