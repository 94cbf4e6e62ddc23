"""A simulator of Chatwoot: a real HTTP server with faults on demand. It answers the application API, calls its webhooks
by itself, serves files, and has people who write and answer (`receive`, `tap`, `reply`, …).

It answers a message before it is delivered: one outside the window, or to somebody who is not reached, is answered 200
and then `failed`, with `content_attributes.external_error`.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

from aiohttp import web
from aiohttp.typedefs import Handler

from daemon.sandbox.chatwoot_account import Contact, Invalid, Message, Missing, Raced
from daemon.sandbox.chatwoot_admin import ChatwootAdmin
from daemon.sandbox.chatwoot_api import ASKED, BASE
from daemon.sandbox.chatwoot_contacts import ChatwootContacts
from daemon.sandbox.chatwoot_crm import ChatwootCrm
from daemon.sandbox.chatwoot_files import STORE, ChatwootFiles
from daemon.sandbox.chatwoot_history import ChatwootHistory
from daemon.sandbox.chatwoot_views import BLOBS
from daemon.sandbox.faults import Fault, Faults, body_json, spoiled
from daemon.sandbox.ledger import Asked, Ledger

TOKEN: Final = "sandbox-chatwoot-token"  # noqa: S105 - the simulator's own
MARKER: Final = "ferryman_message_id"
"""Among a message's `content_attributes`: the sender's own id of it."""

_LARGEST: Final = 64 * 1024 * 1024
_NOT_FOR_BOTS: Final = ("filter", "create", "list", "inbox", "inboxes", "webhooks", "agents")
_ELSEWHERE: Final = "Is al in gebruik of ongeldig"
"""What is wrong with a record, in the language of a token's owner from the Netherlands."""


class Requested(NamedTuple):
    """A request. *query*: its parameters. *body*: parsed; None where there was none."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any


class ChatwootSandbox(ChatwootAdmin, ChatwootContacts, ChatwootHistory, ChatwootCrm):
    """The simulator, as an async context manager. *port* 0: any free one; *url* is known once it runs. *token*: the one
    that it takes. Attributes for tests: `ledger`, `faults`, `switches`, `account`; `bodies`: what was posted, as (path,
    parsed body), and `queries`: what was asked otherwise, as (path, parameters)."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, token: str = TOKEN) -> None:
        super().__init__()
        self.token = token
        self.ledger = Ledger()
        self.faults = Faults()
        self.files = ChatwootFiles(self.account)
        self.requests: list[Requested] = []
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._judge], client_max_size=_LARGEST)
        app.add_routes([*self.routes(), *self.files.routes()])
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]
        self.account.files_at = self.url
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hooks.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def bodies(self) -> list[tuple[str, Any]]:
        """What was posted: (path, parsed body)."""
        return [(one.path, one.body) for one in self.requests if one.method == "POST"]

    @property
    def url(self) -> str:
        """What to give as CHATWOOT_BASE_URL."""
        return f"http://{self._host}:{self._port}"

    def sends(self) -> dict[str, int]:
        """Our id -> how many messages are stored with it."""
        marks = (one.content_attributes.get(MARKER) for _, one in self.account.messages())
        return dict(Counter(mark for mark in marks if mark is not None))

    def sent(self) -> list[Message]:
        """The messages that went out, in their order."""
        return [one for _, one in self.account.messages() if one.message_type == 1]

    @web.middleware
    async def _judge(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The way of a request: write it down, check its token and its fault, then perform it."""
        if request.path.startswith((BLOBS, STORE)):
            return await handler(request)
        asked = request[ASKED] = await _body(request)
        self.requests.append(Requested(request.method, request.path, dict(request.query), asked))
        action, contact = self._about(request, asked)
        entry = self.ledger.open(method=request.method, path=request.path, action=action, contact=contact)
        answer = await self._answer(request, handler, entry)
        entry.status = answer.status if request.transport is not None else None
        return answer

    async def _answer(self, request: web.Request, handler: Handler, entry: Asked) -> web.StreamResponse:
        token = request.headers.get("Api-Access-Token") or request.headers.get("api_access_token")
        if token is None:
            return _json({"errors": ["You need to sign in or sign up before continuing."]}, 401)
        if token != self.token:
            return _json({"error": "Invalid Access Token"}, 401)
        fault = self.faults.take(request.method, request.path, entry.contact)
        if fault is None or fault.kind == "slow":
            await asyncio.sleep(fault.seconds if fault else 0)
            return await self._perform(request, handler, entry)
        done = await self._perform(request, handler, entry) if fault.performs else _json({})
        answer = await spoiled(request, fault, done)
        return _worded(fault) if answer is None else answer

    async def _perform(self, request: web.Request, handler: Handler, entry: Asked) -> web.StreamResponse:
        try:
            self._demand_role(entry.action)
            answer = await handler(request)
        except (Missing, web.HTTPNotFound):
            return _json({"error": "Resource could not be found"}, 404)
        except PermissionError as refusal:
            return _json({"error": str(refusal)}, 401)
        except Invalid as error:
            text = _ELSEWHERE if self.switches.localised else str(error)
            told = {"message": text, "attributes": list(error.attributes)}
            return _json(told if error.attributes else {"error": str(error)}, 422)
        except Raced:
            return _json({"status": 500, "error": "Internal Server Error"}, 500)
        entry.performed = answer.status < 400
        entry.made = entry.performed and entry.action == "create"
        return answer

    def _demand_role(self, action: str) -> None:
        if self.switches.role == "bot" and action in _NOT_FOR_BOTS:
            raise PermissionError("Access to this endpoint is not authorized for bots")
        if self.switches.role == "outsider" and action in ("send", "begin", "read", "inbox"):
            raise PermissionError("You are not authorized to do this action")

    def _about(self, request: web.Request, asked: Any) -> tuple[str, str]:
        """What a request is about, and whom: by the digits of the phone."""
        parts, post = request.path.removeprefix(f"{BASE}/").split("/"), request.method == "POST"
        body = asked if isinstance(asked, dict) else {}
        match parts:
            case ["contacts", "filter"]:
                values = [value for one in body.get("payload", ()) for value in one.get("values", ())]
                return "filter", str(values[0]).lstrip("+").removeprefix("wa:") if values else ""
            case ["contacts"] if post:
                return "create", str(body.get("phone_number", "")).lstrip("+")
            case ["contacts", id, *_]:
                return "list", _digits(self.account.contacts.get(int(id)) if id.isdecimal() else None)
            case ["conversations", id, "messages"] if id.isdecimal():
                talk = self.account.conversations.get(int(id))
                return "send" if post else "read", "" if talk is None else talk.address
            case ["conversations"] if post:
                return "begin", str(body.get("source_id") or "")
            case ["inboxes"]:
                return "inboxes", ""
            case ["conversations"]:
                return "list", request.query.get("source_id", "")
        return parts[0].removesuffix("es"), ""


async def _body(request: web.Request) -> Any:
    """The body of *request*: its JSON, or the fields of its form with their files as `attachments`."""
    if not request.content_type.startswith("multipart/"):
        return body_json(await request.read())
    fields: dict[str, Any] = {}
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            kept = fields.setdefault(name.removesuffix("[]"), [])
            kept.append((value.filename, value.content_type, value.file.read()))
        else:
            fields[name] = value
    if "content_attributes" in fields:
        fields["content_attributes"] = json.loads(fields["content_attributes"])
    if "private" in fields:
        fields["private"] = fields["private"] == "true"
    return fields


def _digits(contact: Contact | None) -> str:
    return (contact.phone_number or "").lstrip("+") if contact is not None else ""


def _worded(fault: Fault) -> web.Response:
    """The faults that Chatwoot words in its own way."""
    if fault.kind == "limited":
        headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else None
        return web.Response(status=429, text="Retry later\n", headers=headers)
    if fault.kind == "bad_token":
        return _json({"error": "Invalid Access Token"}, fault.status or 401)
    return _json({"error": fault.message or "Internal Server Error"}, fault.status or 500)


def _json(document: Any, status: int = 200) -> web.Response:
    return web.json_response(document, status=status)
