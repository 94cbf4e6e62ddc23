"""A Chatwoot as far as a look at an account goes: its profile and its inboxes, on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web
from aiohttp.test_utils import TestServer

TOKEN: Final = "chatwoot-token-of-the-tests"
INBOXES: Final = ({"id": 1, "name": "Shop", "channel_type": "Channel::WebWidget"},)
WHATSAPP: Final = {"id": 4, "name": "Visas", "channel_type": "Channel::Whatsapp"}


@asynccontextmanager
async def chatwoot(*, accounts: tuple[int, ...] = (3,)) -> AsyncIterator[str]:
    """Yields its base address. Its account is 3, and the inbox 4 carries WhatsApp."""

    @web.middleware
    async def proven(request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("Api-Access-Token") != TOKEN:
            return web.json_response({"error": "Invalid Access Token"}, status=401)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def profile(_: web.Request) -> web.Response:
        return web.json_response({"id": 7, "name": "Ana Admin", "accounts": [{"id": id} for id in accounts]})

    async def inboxes(_: web.Request) -> web.Response:
        return web.json_response({"payload": [*INBOXES, WHATSAPP]})

    app = web.Application(middlewares=[proven])
    app.add_routes([web.get("/api/v1/profile", profile), web.get("/api/v1/accounts/3/inboxes", inboxes)])
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()
