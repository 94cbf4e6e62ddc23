"""A simulator of Twilio as far as Ferryman sends by it: a real HTTP server with faults on demand.

It takes a message (201, `queued`) and tells later, by a form to the message's StatusCallback, how it stands. Most of
what goes wrong on WhatsApp comes as such a status, and not as an answer.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit
from uuid import uuid4

from aiohttp import ClientError, ClientSession, web
from aiohttp.typedefs import Handler

from daemon.sandbox.faults import Fault, Faults, spoiled
from daemon.sandbox.ledger import Asked, Ledger
from daemon.sandbox.twilio_account import Standing, account_routes
from daemon.sandbox.twilio_webhooks import NUMBER, TwilioWebhooks, status_form

ACCOUNT_SID: Final = "AC" + "0" * 32
TOKEN: Final = "sandbox-auth-token"  # noqa: S105 - the simulator's own

WINDOW_S: Final = 24 * 3600.0
"""How long after a person's last message free text goes out."""

_TO: Final = re.compile(r"whatsapp:(\+[1-9][0-9]{6,14})")
_CONTENT_SID: Final = re.compile(r"HX[0-9a-f]{32}", re.I)
_LONGEST_BODY: Final = 1600


@dataclass(frozen=True, slots=True)
class Made:
    """A message that was taken. *our_id*: what its StatusCallback names, "" for none. *outcome*: which statuses follow;
    see `Switches`. *at*: unix seconds."""

    sid: str
    to: str
    our_id: str
    form: Mapping[str, str]
    outcome: str
    at: float = field(default_factory=time.time)


@dataclass(slots=True, kw_only=True)
class Switches:
    """How the account is.

    *outcomes*: by phone, with its plus, what becomes of messages to it: `read`; `delivered`, which is that of all
    others; `skipped` (read, and no delivered before); `out_of_order`; `duplicate`; `drop` (taken, and no word more); or
    an error code, by which it is undelivered. *window*: whether free text outside 24 hours after the person's last
    message is undelivered; *inbound_at*: when that was, by phone, in unix seconds. *limit*: requests in a second.
    *delay_s*: before each status. *json*: statuses come as JSON. *account*: how it is itself.
    """

    outcomes: dict[str, str] = field(default_factory=dict)
    window: bool = False
    inbound_at: dict[str, float] = field(default_factory=dict)
    limit: int | None = None
    delay_s: float = 0.0
    json: bool = False
    account: Standing = field(default_factory=Standing)


class TwilioSandbox:
    """The simulator, as an async context manager. *port* 0: any free one; *url* is known once it runs. Attributes for
    tests: `ledger`, `faults`, `switches`, `made`: the messages that were taken, and `told`: the statuses that were
    answered 2xx, as (sid, status). *behind*: the beginning of callbacks' addresses, and what stands in its place inside
    our network, as behind a proxy."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, token: str = TOKEN) -> None:
        self.token = token
        self.ledger = Ledger()
        self.faults = Faults()
        self.switches = Switches()
        self.made: list[Made] = []
        self.told: list[tuple[str, str]] = []
        self.behind: tuple[str, str] | None = None
        self._host = host
        self._port = port
        self._recent: deque[float] = deque()
        self._runner: web.AppRunner | None = None
        self._http: ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._judge])
        path = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
        app.add_routes(
            [
                web.post(path, self._make),
                web.get(path, self._list),
                *account_routes(ACCOUNT_SID, lambda: self.switches.account),
            ]
        )
        self._http = ClientSession()
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        if self._http is not None:
            await self._http.close()

    @property
    def url(self) -> str:
        """What to give as TWILIO_API_URL."""
        return f"http://{self._host}:{self._port}"

    @property
    def account(self) -> dict[str, str]:
        """The values of the account that a sender needs."""
        return {"url": self.url, "account_sid": ACCOUNT_SID, "auth_token": self.token, "whatsapp_number": NUMBER}

    def sends(self, our_id: str) -> int:
        """How many messages were made for this id of ours."""
        return sum(one.our_id == our_id for one in self.made)

    @web.middleware
    async def _judge(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The way of a request: write it down, check its account, its rate and its fault, then perform it."""
        asked = request.query if request.method == "GET" else await _form(request)
        contact, action = asked.get("To", "").rpartition("+")[2], "look" if request.method == "GET" else "send"
        entry = self.ledger.open(method=request.method, path=request.path, action=action, contact=contact)
        answer = await self._answer(request, handler, entry)
        entry.status = answer.status if request.transport is not None else None
        return answer

    async def _answer(self, request: web.Request, handler: Handler, entry: Asked) -> web.StreamResponse:
        proof = base64.b64encode(f"{ACCOUNT_SID}:{self.token}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {proof}":
            return _no(401, 20003, "Authenticate")
        if self._over_limit():
            return _no(429, 20429, "Too Many Requests")
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
            return _no(refusal.status, 20404, "The requested resource was not found")
        entry.performed = answer.status < 400
        return answer

    def _over_limit(self) -> bool:
        now = time.monotonic()
        while self._recent and self._recent[0] <= now - 1.0:
            self._recent.popleft()
        if self.switches.limit is not None and len(self._recent) >= self.switches.limit:
            return True
        self._recent.append(now)
        return False

    async def _make(self, request: web.Request) -> web.Response:
        form = await _form(request)
        if (refusal := _refusal(form)) is not None:
            return _no(400, *refusal)
        to = form["To"].removeprefix("whatsapp:")
        callback = form.get("StatusCallback", "")
        our_id = parse_qs(urlsplit(callback).query).get("message", [""])[0]
        made = Made(f"{'MM' if 'MediaUrl' in form else 'SM'}{uuid4().hex}", to, our_id, form, self._outcome(to, form))
        self.made.append(made)
        if callback and made.outcome != "drop":
            task = asyncio.create_task(self._tell(made, callback), name="sandbox-twilio-statuses")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return web.json_response(_shown(made), status=201)

    async def _list(self, request: web.Request) -> web.Response:
        to, most = request.query.get("To", "").removeprefix("whatsapp:"), int(request.query.get("PageSize", "50"))
        found = [_shown(made) for made in reversed(self.made) if to in ("", made.to)]
        return web.json_response({"messages": found[:most], "page": 0, "page_size": most})

    def _outcome(self, to: str, form: Mapping[str, str]) -> str:
        late = time.time() - self.switches.inbound_at.get(to, 0.0) > WINDOW_S
        if self.switches.window and late and "ContentSid" not in form:
            return "63016"
        return self.switches.outcomes.get(to, "delivered")

    async def _tell(self, made: Made, callback: str) -> None:
        """Tell the statuses of a message, each once: Twilio repeats a callback only where it could not connect."""
        assert self._http is not None
        webhooks = TwilioWebhooks(self._http, self.token)
        at = callback if self.behind is None else callback.replace(*self.behind, 1)
        for status, code in _stages(made.outcome):
            await asyncio.sleep(self.switches.delay_s)
            try:
                if self.switches.json:
                    document = {"sid": made.sid, "status": status, "to": f"whatsapp:{made.to}", "error_code": code}
                    answer = await webhooks.json(callback, document, at=at)
                else:
                    answer = await webhooks.form(callback, status_form(made.sid, made.to, status, code), at=at)
            except (ClientError, TimeoutError, OSError):
                continue
            if 200 <= answer < 300:
                self.told.append((made.sid, status))


async def _form(request: web.Request) -> dict[str, str]:
    return dict(parse_qsl((await request.read()).decode(), keep_blank_values=True))


def _refusal(form: Mapping[str, str]) -> tuple[int, str] | None:
    """The code and the text by which a request is refused at once."""
    to, media = form.get("To", ""), form.get("MediaUrl")
    if _TO.fullmatch(to) is None:
        return 21211, f"Invalid 'To' Phone Number: {to}"
    if form.get("From") != f"whatsapp:{NUMBER}":
        return 63007, "Twilio could not find a Channel with the specified From address"
    if media is not None and urlsplit(media).scheme not in ("http", "https"):
        return 21620, "Invalid media URL(s)"
    if len(form.get("Body", "")) > _LONGEST_BODY:
        return 21617, "The concatenated message body exceeds the 1600 character limit"
    if "ContentSid" in form:
        return _template_refusal(form)
    if not form.get("Body") and media is None:
        return 21602, "Message body is required."
    return None


def _template_refusal(form: Mapping[str, str]) -> tuple[int, str] | None:
    if _CONTENT_SID.fullmatch(form["ContentSid"]) is None:
        return 21655, "The ContentSid is Invalid"
    try:
        variables = json.loads(form.get("ContentVariables", "{}"))
    except ValueError:
        variables = None
    return None if isinstance(variables, dict) else (21656, "The ContentVariables Parameter is Invalid")


def _stages(outcome: str) -> list[tuple[str, str | None]]:
    """(status, error code) in the order in which the callbacks go out. None is sent for the first status, `queued`."""
    if outcome.isascii() and outcome.isdigit():
        return [("undelivered", outcome)]
    names = {
        "read": ["sent", "delivered", "read"],
        "skipped": ["sent", "read"],
        "out_of_order": ["delivered", "sent"],
        "duplicate": ["sent", "sent", "delivered", "delivered"],
    }.get(outcome, ["sending", "sent", "delivered"])
    return [(name, None) for name in names]


def _shown(made: Made) -> dict[str, Any]:
    """A message as Twilio shows it when it has just taken it."""
    return {
        "sid": made.sid,
        "account_sid": ACCOUNT_SID,
        "status": "queued",
        "to": f"whatsapp:{made.to}",
        "from": f"whatsapp:{NUMBER}",
        "body": made.form.get("Body", ""),
        "num_segments": "1",
        "num_media": str(int("MediaUrl" in made.form)),
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "messaging_service_sid": None,
        "date_created": formatdate(made.at),
    }


def _worded(fault: Fault) -> web.Response:
    """The faults that Twilio words in its own way: `nested` is the RFC 9457 document of its newer services."""
    headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else None
    if fault.kind == "limited":
        return _no(429, 20429, "Too Many Requests", headers=headers)
    if fault.kind == "bad_token":
        return _no(401, 20003, "Authenticate", headers=headers)
    return _no(
        fault.status or 400,
        fault.code,
        fault.message or "Something went wrong",
        headers=headers,
        problem=fault.shape == "nested",
    )


def _no(status: int, code: int | str | None, text: str, *, headers: Any = None, problem: bool = False) -> web.Response:
    about = f"https://www.twilio.com/docs/errors/{code}"
    if problem:
        document = {"type": about, "title": "Error", "status": status, "code": code, "detail": text, "errors": []}
    else:
        document = {"code": code, "message": text, "more_info": about, "status": status}
    return web.json_response(document, status=status, headers=headers)
