"""A simulator of Whapi, as far as Ferryman asks it: a real HTTP server with faults on demand.

Its check of contacts answers as the vendor's own clients expect: `{"contacts": [{"input", "status", "wa_id"}]}`, the
input as it was sent and `wa_id` only for a valid number. What is sent is answered `{"sent": true, "message": {…}}`, and
comes back by the webhook: the message itself as one of our own, then its statuses.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any, Final, Self
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Handler

from daemon.sandbox.faults import Fault, Faults, body_json, spoiled
from daemon.sandbox.ledger import Asked, Ledger
from daemon.sandbox.whapi_messages import PERSON, Messages, Outcome, chat_of

TOKEN: Final = "sandbox-channel-token"  # noqa: S105 - the simulator's own

_CONTACT: Final = re.compile(r"\+?[\d\s().-]{7,31}")
_DIGITS: Final = re.compile(r"[^0-9]")
MOST_BYTES: Final = 101 * 1024 * 1024
"""Of a request."""

_KINDS: Final = ("text", "image", "video", "audio", "voice", "document", "gif", "sticker", "interactive")
_BUTTONS: Final = frozenset({"quick_reply", "url", "call", "copy"})


@dataclass(slots=True, kw_only=True)
class Switches:
    """How the channel is. *no_whatsapp*: digits of numbers that are not on WhatsApp; all others are. *bad_token*: the
    status for a token that is not known: 404 (Channel not found), 401 or 403. *checks_left*: what the plan still
    allows, None: no end of it. *state*: what `GET /health` tells; only AUTH sends. *processing*: digits whose result is
    not there yet, although the question waits for it. *sends_left*: as *checks_left*. *outcome*: what becomes of
    messages, *outcomes*: by digits. *delay_s*: between two webhooks of one message."""

    no_whatsapp: list[str] = field(default_factory=list)
    bad_token: int = 404
    checks_left: int | None = None
    state: str = "AUTH"
    processing: list[str] = field(default_factory=list)
    sends_left: int | None = None
    outcome: Outcome = "delivered"
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    delay_s: float = 0.02


class WhapiSandbox:
    """The simulator, as an async context manager. *port* 0: any free one; *url* is known once it runs. *token*: the one
    that it takes. *callback_url*: where its webhook goes, with *callback_secret* in X-Webhook-Secret. Attributes for
    tests: `ledger`, `faults`, `switches`, `messages`, `media`: the files that were uploaded, by their ids, and `asked`:
    the numbers of each check."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = TOKEN,
        callback_url: str | None = None,
        callback_secret: str | None = None,
    ) -> None:
        self.token = token
        self.messages = Messages(callback_url, callback_secret)
        self.ledger = Ledger()
        self.faults = Faults()
        self.switches = Switches()
        self.asked: list[list[str]] = []
        self.media: dict[str, bytes] = {}
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._judge], client_max_size=MOST_BYTES)
        app.add_routes(
            [
                web.post("/contacts", self._check),
                web.head("/contacts/{contact}", self._has),
                web.get("/health", self._health),
                web.post("/media", self._upload),
                web.get("/messages/list/{contact}", self._list),
                *(web.post(f"/messages/{kind}", self._send) for kind in _KINDS),
                web.put("/messages/{id}", self._read),
                web.put("/messages/{id}/reaction", self._react),
            ]
        )
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.messages.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """What to give as WHAPI_API_URL."""
        return f"http://{self._host}:{self._port}"

    @web.middleware
    async def _judge(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The way of a request: write it down, check its token and its fault, then perform it."""
        body = None if request.path == "/media" else body_json(await request.read())
        action, contact = _about(request.method, request.path, body)
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

    async def _send(self, request: web.Request) -> web.Response:
        kind, asked = request.path.rpartition("/")[2], body_json(await request.read())
        if not isinstance(asked, dict) or (chat := chat_of(asked.pop("to", None))) is None:
            return _no(400, "Wrong request parameters")
        if (content := _content(kind, asked)) is None:
            return _no(400, "Wrong request parameters")
        media = asked.get("media", "https://")
        if not media.startswith(("https://", "http://", "data:")) and media not in self.media:
            return _no(404, "Specified media not found")
        digits, switches = chat.removesuffix(PERSON), self.switches
        if switches.state != "AUTH":
            return _no(500, "Channel is not authorized")
        if switches.sends_left is not None:
            if switches.sends_left < 1:
                return _no(402, "Trial version limit exceeded")
            switches.sends_left -= 1
        if digits in switches.no_whatsapp:
            return _no(404, "Specified chat not found")
        outcome = switches.outcomes.get(digits, switches.outcome)
        message = self.messages.take(kind, chat, content, outcome, switches.delay_s)
        return web.json_response({"sent": True, "message": message})

    async def _react(self, request: web.Request) -> web.Response:
        asked, id = body_json(await request.read()), request.match_info["id"]
        if not isinstance(asked, dict) or not isinstance(asked.get("emoji"), str):
            return _no(400, "Wrong request parameters")
        if not self.messages.has(id):
            return _no(404, "Specified message not found")
        if self.switches.state != "AUTH":
            return _no(500, "Channel is not authorized")
        self.messages.reactions[id] = asked["emoji"]
        return web.json_response({"success": True})

    async def _read(self, request: web.Request) -> web.Response:
        if (id := request.match_info["id"]) not in self.messages.heard:
            return _no(404, "Specified message not found")
        self.messages.read.append(id)
        return web.json_response({"success": True})

    async def _upload(self, request: web.Request) -> web.Response:
        part = (await request.post()).get("media")
        if not isinstance(part, web.FileField) or "." not in part.filename:
            return _no(400, "Wrong request parameters")
        id = f"{part.filename.rpartition('.')[2]}-{uuid4().hex}"
        self.media[id] = part.file.read()
        return web.json_response({"media": [{"id": id}]})

    async def _list(self, request: web.Request) -> web.Response:
        found = self.messages.of(request.match_info["contact"])
        return web.json_response({"messages": found, "count": len(found), "total": len(found), "offset": 0})

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": {"code": 4, "text": self.switches.state}})


def _about(method: str, path: str, body: Any) -> tuple[str, str]:
    """What a request is about, and whom."""
    if method == "POST" and path.startswith("/messages/"):
        chat = chat_of(body.get("to")) if isinstance(body, dict) else None
        return "send", (chat or "").removesuffix(PERSON)
    if method == "PUT":
        return ("send" if path.endswith("/reaction") else "mark"), ""
    if path == "/media":
        return "upload", ""
    action = {"POST": "check", "HEAD": "has"}.get(method, "list" if path.startswith("/messages/") else "health")
    return action, path.rpartition("/")[2] if action in ("has", "list") else ""


def _content(kind: str, asked: dict[str, Any]) -> Any:
    """What a message of *kind* holds; None where Whapi would refuse it."""
    if kind == "text":
        return asked if isinstance(asked.get("body"), str) and asked["body"] else None
    if kind != "interactive":
        return asked if isinstance(asked.get("media"), str) and asked["media"] else None
    match asked:
        case {"type": "button", "body": {"text": str()}, "action": {"buttons": [_, *_] as buttons}}:
            sound = all(one.get("type") in _BUTTONS and one.get("title") and one.get("id") for one in buttons)
        case {
            "type": "list",
            "body": {"text": str()},
            "action": {"list": {"label": str(), "sections": [_, *_] as all_}},
        }:
            sound = all(row.get("id") and row.get("title") for section in all_ for row in section["rows"])
        case _:
            sound = False
    return asked if sound else None


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
