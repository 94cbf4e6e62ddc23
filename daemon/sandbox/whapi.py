"""A simulator of Whapi, as far as Ferryman asks it: a real HTTP server with faults on demand.

Its check of contacts answers as the vendor's own clients expect: `{"contacts": [{"input", "status", "wa_id"}]}`, the
input as it was sent and `wa_id` only for a valid number.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any, Final, Self

from aiohttp import web
from aiohttp.typedefs import Handler

from daemon.sandbox.faults import Fault, Faults, body_json, spoiled
from daemon.sandbox.ledger import Asked, Ledger

TOKEN: Final = "sandbox-channel-token"  # noqa: S105 - the simulator's own

_CONTACT: Final = re.compile(r"\+?[\d\s().-]{7,31}")
_DIGITS: Final = re.compile(r"[^0-9]")


@dataclass(slots=True, kw_only=True)
class Switches:
    """How the channel is. *no_whatsapp*: digits of numbers that are not on WhatsApp; all others are. *bad_token*: the
    status for a token that is not known: 404 (Channel not found), 401 or 403. *checks_left*: what the plan still
    allows, None: no end of it. *state*: what `GET /health` tells. *processing*: digits whose result is not there yet,
    although the question waits for it."""

    no_whatsapp: list[str] = field(default_factory=list)
    bad_token: int = 404
    checks_left: int | None = None
    state: str = "AUTH"
    processing: list[str] = field(default_factory=list)


class WhapiSandbox:
    """The simulator, as an async context manager. *port* 0: any free one; *url* is known once it runs. *token*: the one
    that it takes. Attributes for tests: `ledger`, `faults`, `switches`, and `asked`: the numbers of each check."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, token: str = TOKEN) -> None:
        self.token = token
        self.ledger = Ledger()
        self.faults = Faults()
        self.switches = Switches()
        self.asked: list[list[str]] = []
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._judge])
        app.add_routes(
            [
                web.post("/contacts", self._check),
                web.head("/contacts/{contact}", self._has),
                web.get("/health", self._health),
            ]
        )
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """What to give as WHAPI_API_URL."""
        return f"http://{self._host}:{self._port}"

    @web.middleware
    async def _judge(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The way of a request: write it down, check its token and its fault, then perform it."""
        await request.read()
        action = {"POST": "check", "HEAD": "has"}.get(request.method, "health")
        contact = request.match_info.get("contact", "")
        entry = self.ledger.open(method=request.method, path=request.path, action=action, contact=contact)
        answer = await self._answer(request, handler, entry)
        entry.status = answer.status if request.transport is not None else None
        return answer

    async def _answer(self, request: web.Request, handler: Handler, entry: Asked) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return _no(self.switches.bad_token, "Channel not found")
        fault = self.faults.take(request.method, request.path, entry.contact)
        if fault is None or fault.kind == "slow":
            await asyncio.sleep(fault.seconds if fault else 0)
            return await self._perform(request, handler, entry)
        done = await self._perform(request, handler, entry) if fault.performs else web.json_response({})
        answer = await spoiled(request, fault, done)
        return _worded(fault) if answer is None else answer

    async def _perform(self, request: web.Request, handler: Handler, entry: Asked) -> web.StreamResponse:
        try:
            answer = await handler(request)
        except web.HTTPException as refusal:  # no such route, no such method
            return _no(refusal.status, "Not found")
        entry.performed = answer.status < 400
        return answer

    async def _check(self, request: web.Request) -> web.Response:
        body = body_json(await request.read())
        contacts = body.get("contacts") if isinstance(body, dict) else None
        if not isinstance(contacts, list) or not all(isinstance(c, str) and _CONTACT.fullmatch(c) for c in contacts):
            return _no(400, "Wrong request parameters")
        if self.switches.checks_left is not None:
            if self.switches.checks_left < len(contacts):
                return _no(402, "Trial version limit exceeded")
            self.switches.checks_left -= len(contacts)
        self.asked.append(contacts)
        waits = isinstance(body, dict) and body.get("blocking", "no_wait") == "wait"
        return web.json_response({"contacts": [self._shown(contact, waits) for contact in contacts]})

    def _shown(self, contact: str, waits: bool) -> dict[str, Any]:
        digits = _DIGITS.sub("", contact)
        if not waits or digits in self.switches.processing:
            return {"input": contact, "status": "processing"}
        if digits in self.switches.no_whatsapp:
            return {"input": contact, "status": "invalid"}
        return {"input": contact, "status": "valid", "wa_id": digits}

    async def _has(self, request: web.Request) -> web.Response:
        return web.Response(status=404 if request.match_info["contact"] in self.switches.no_whatsapp else 200)

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": {"code": 4, "text": self.switches.state}})


def _worded(fault: Fault) -> web.Response:
    """The faults that Whapi words in its own way."""
    if fault.kind == "limited":
        headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else None
        return _no(429, "Too many requests", status=fault.status, headers=headers)
    if fault.kind == "bad_token":
        return _no(fault.status or 404, "Channel not found")
    code = fault.code if isinstance(fault.code, int) else 500
    return _no(code, fault.message or "Something went wrong", status=fault.status or 200)


def _no(code: int, text: str, *, status: int | None = None, headers: Any = None) -> web.Response:
    """A failure; HTTP's status is its code unless told otherwise."""
    error = {"code": code, "message": text, "details": text, "href": "", "support": ""}
    return web.json_response({"error": error}, status=status or code, headers=headers)
