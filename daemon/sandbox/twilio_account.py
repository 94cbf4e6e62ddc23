"""What the simulator of Twilio tells of its account and of the account's WhatsApp senders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from daemon.sandbox.twilio_webhooks import NUMBER


@dataclass(slots=True, kw_only=True)
class Standing:
    """*status*, *type*: of the account. *senders*: number -> its state."""

    status: str = "active"
    type: str = "Full"
    senders: dict[str, str] = field(default_factory=lambda: {NUMBER: "ONLINE"})


def account_routes(sid: str, standing: Callable[[], Standing]) -> list[web.RouteDef]:
    """The reads of the account *sid*."""

    async def account(_: web.Request) -> web.Response:
        how = standing()
        return web.json_response({"sid": sid, "friendly_name": "Sandbox", "type": how.type, "status": how.status})

    async def senders(_: web.Request) -> web.Response:
        rows: list[dict[str, Any]] = [
            {"sender_id": f"whatsapp:{number}", "status": status} for number, status in standing().senders.items()
        ]
        return web.json_response({"senders": rows, "meta": {"key": "senders"}})

    return [web.get(f"/2010-04-01/Accounts/{sid}.json", account), web.get("/v2/Channels/Senders", senders)]
