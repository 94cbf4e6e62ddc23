"""A simulator of Meta's Cloud API: a real HTTP server that takes messages and tells what became of them by webhook.

A message that is taken is answered at once; whether it reaches its person is told later, in signed statuses: late,
twice, out of order, with `delivered` left out, or as a failure, as the person's fate has it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self
from uuid import uuid4

from aiohttp import ClientError, ClientSession, web
from aiohttp.typedefs import Handler

from daemon.sandbox import meta_templates
from daemon.sandbox.faults import Fault, Faults, body_json, spoiled
from daemon.sandbox.ledger import Asked, Ledger
from daemon.sandbox.meta_chats import Chats
from daemon.sandbox.meta_media import MOST_BYTES, MetaMedia
from daemon.sandbox.meta_rules import Wrong, wrong
from daemon.sandbox.meta_templates import WABA_ID
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID, MetaWebhooks, batch, contact, failed, message, status, value

TOKEN: Final = "EAASandboxSandboxSandbox"  # noqa: S105 - the simulator's own
VERSION: Final = "v23.0"
FATE: Final = ("sent", "delivered")
"""What becomes of a message whose person has no other fate."""

NUMBER: Final = {
    "display_phone_number": "+1 555-000-1234",
    "verified_name": "Sandbox",
    "quality_rating": "GREEN",
    "status": "CONNECTED",
    "throughput": {"level": "STANDARD"},
    "whatsapp_business_manager_messaging_limit": "TIER_2K",
}

PAIR_S: Final = 6.0
_TRIES: Final = 6
_FIRST_GAP_S: Final = 0.2


@dataclass(slots=True, kw_only=True)
class Switches:
    """How the number is. People are named by the digits of their phones.

    *fates*: person -> the statuses of each message to them, in the order in which they are told; a number is the code
    of a failure. *gap_s*: seconds before each status. *together*: all statuses of a message come in one body.
    *open_windows*: who has written within 24 hours; None: everybody. Free text to others is taken, and then fails.
    *refused*: person -> the code that a send to them is answered with. *error_status*, *error_headers*: HTTP's, of such
    an answer. *aliases*: person -> the WhatsApp id that is found for them. *templates*: those of the account, as
    `meta_templates.definition` makes them; None: whatever is sent exists, and the list is empty. *per_second*: messages
    that the number may send; *pair_burst*: messages to one person within PAIR_S; None: no limit.
    *number*: what the number tells of itself. *apps*: which hear of its account.
    """

    fates: dict[str, Sequence[str | int]] = field(default_factory=dict)
    gap_s: float = 0.0
    together: bool = False
    open_windows: set[str] | None = None
    refused: dict[str, int] = field(default_factory=dict)
    error_status: int = 400
    error_headers: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    templates: list[dict[str, Any]] | None = None
    per_second: int | None = None
    pair_burst: int | None = None
    number: dict[str, Any] = field(default_factory=lambda: dict(NUMBER))
    apps: list[str] = field(default_factory=lambda: ["Ferryman"])


class Sent(NamedTuple):
    """A message that was taken. *our_id*: the sender's own id of it, "" where it gave none."""

    id: str
    our_id: str
    to: str
    body: dict[str, Any]


class MetaSandbox:
    """The simulator, as an async context manager. *port* 0: any free one; *url* is known once it runs. *callback_url*:
    the Ferryman that is told of statuses, signed with *app_secret*; None: nobody is.

    Attributes for tests: `ledger`, `faults`, `switches`, `sent`, `media`: the files that it has, `chats`: who has
    said what, and `read`: the messages that were marked as read.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = TOKEN,
        number_id: str = PHONE_NUMBER_ID,
        callback_url: str | None = None,
        app_secret: str | None = None,
    ) -> None:
        self.token = token
        self.number_id = number_id
        self.callback_url = callback_url
        self.ledger = Ledger()
        self.faults = Faults()
        self.switches = Switches()
        self.sent: list[Sent] = []
        self.read: list[str] = []
        self.media = MetaMedia()
        self.chats = Chats()
        self._app_secret = app_secret
        self._host, self._port = host, port
        self._times: dict[str, deque[float]] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None
        self._http: ClientSession | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._judge], client_max_size=MOST_BYTES)
        app.add_routes(
            [
                web.post(f"/{VERSION}/{self.number_id}/messages", self._messages),
                web.post(f"/{VERSION}/{self.number_id}/media", self._upload),
                web.get(f"/{VERSION}/{self.number_id}", self._number),
                web.get(f"/{VERSION}/{WABA_ID}/message_templates", self._templates),
                web.get(f"/{VERSION}/{WABA_ID}/subscribed_apps", self._apps),
            ]
        )
        self._http = ClientSession()
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
        if self._http is not None:
            await self._http.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """What to give as META_GRAPH_URL."""
        return f"http://{self._host}:{self._port}/{VERSION}"

    def account(self) -> dict[str, str]:
        """The values of an account that may send here."""
        ids = {"phone_number_id": self.number_id, "waba_id": WABA_ID}
        return {"url": self.url, "access_token": self.token, **ids}

    def sends(self) -> Counter[str]:
        """How many messages were taken for each id of the sender's own."""
        return Counter(one.our_id for one in self.sent)

    async def write(self, person: str, text: str) -> str:
        """The person whose phone has these digits writes to the number. Returns the id of the message."""
        id = f"wamid.{uuid4().hex}=="
        self.chats.note(id, person, theirs=True)
        told = message(person, id, text, timestamp=str(int(time.time())))
        await self._post(batch(value(contacts=[contact(person)], messages=[told])))
        return id

    async def tell_of(self, field: str, template: dict[str, Any], **members: Any) -> None:
        """Tell what has changed about *template*, as `meta_templates.change` has it."""
        await self._post(meta_templates.change(field, template, **members))

    @web.middleware
    async def _judge(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The way of a request: write it down, check its token and its fault, then perform it."""
        body = None if request.path.endswith("/media") else body_json(await request.read())
        told = body if isinstance(body, dict) else {}
        action = "look" if request.method == "GET" else "mark" if "status" in told else "send"
        action = "upload" if request.path.endswith("/media") else action
        person = str(told.get("to", "")).removeprefix("+")
        entry = self.ledger.open(method=request.method, path=request.path, action=action, contact=person)
        answer = await self._answer(request, handler, entry)
        entry.status = answer.status if request.transport is not None else None
        return answer

    async def _answer(self, request: web.Request, handler: Handler, entry: Asked) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return error(190, "Error validating access token", http=401)
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
        except web.HTTPException:  # another id of a number, or another version
            details = "Unsupported post request. Object with ID does not exist, or missing permissions"
            return error(100, details, http=400, subcode=33)
        entry.performed = answer.status < 400
        return answer

    async def _number(self, request: web.Request) -> web.Response:
        known = {"id": self.number_id, **self.switches.number}
        fields = [name for name in request.query.get("fields", "id").split(",") if name]
        if unknown := [name for name in fields if name not in known]:
            return error(100, f"Tried accessing nonexisting field ({unknown[0]})")
        return web.json_response({"id": self.number_id} | {name: known[name] for name in fields})

    async def _apps(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"whatsapp_business_api_data": {"name": n}} for n in self.switches.apps]})

    async def _upload(self, request: web.Request) -> web.Response:
        taken = self.media.take(await request.post())
        return error(taken.code, taken.details) if isinstance(taken, Wrong) else web.json_response({"id": taken})

    async def _templates(self, request: web.Request) -> web.Response:
        url = f"{self.url}/{WABA_ID}/message_templates"
        return web.json_response(meta_templates.page(self.switches.templates or [], request.query, url, self.token))

    async def _messages(self, request: web.Request) -> web.Response:
        body = body_json(await request.read())
        if isinstance(body, dict) and body.get("status") == "read":
            if not self.chats.takes_mark(id := str(body.get("message_id"))):
                return error(131009, "Parameter value is not valid")
            self.read.append(id)
            return web.json_response({"success": True})
        if (why := wrong(body) or self.media.wrong(body) or self._refusal(body)) is not None:
            how = self.switches
            return error(why.code, why.details, http=how.error_status, headers=how.error_headers)
        return self._take(body)

    def _refusal(self, body: dict[str, Any]) -> Wrong | None:
        person = body["to"].removeprefix("+")
        if (code := self.switches.refused.get(person)) is not None:
            return Wrong(code, "refused on purpose")
        known = self.switches.templates if body["type"] == "template" else None
        if known is not None and (why := meta_templates.refusal(known, body["template"])) is not None:
            return why
        if self._is_full("", 1.0, self.switches.per_second):
            return Wrong(130429, "Rate limit hit")
        if self._is_full(person, PAIR_S, self.switches.pair_burst):
            return Wrong(131056, "Too many messages sent to this number")
        return None

    def _is_full(self, whose: str, window_s: float, most: int | None) -> bool:
        times = self._times.setdefault(whose, deque())
        while times and times[0] < time.monotonic() - window_s:
            times.popleft()
        return most is not None and len(times) >= most

    def _take(self, body: dict[str, Any]) -> web.Response:
        person = body["to"].removeprefix("+")
        for whose in ("", person):
            self._times.setdefault(whose, deque()).append(time.monotonic())
        wa_id = self.switches.aliases.get(person, person)
        sent = Sent(f"wamid.{uuid4().hex}==", str(body.get("biz_opaque_callback_data", "")), person, body)
        self.sent.append(sent)
        self.chats.note(sent.id, person, theirs=False, reaction=body["type"] == "reaction")
        if self.callback_url is not None:
            task = asyncio.create_task(self._tell(sent, wa_id))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        message = {"id": sent.id} | ({"message_status": "accepted"} if body["type"] == "template" else {})
        found = [{"input": body["to"], "wa_id": wa_id}]
        return web.json_response({"messaging_product": "whatsapp", "contacts": found, "messages": [message]})

    async def _tell(self, sent: Sent, wa_id: str) -> None:
        """Post the statuses of *sent*."""
        open_to, template = self.switches.open_windows, sent.body["type"] == "template"
        late = open_to is not None and sent.to not in open_to and not template
        fate = [131047] if late else self.switches.fates.get(sent.to, FATE)
        if sent.body["type"] == "reaction" and not late:
            fate = ["sent"] if self.chats.takes_reaction(sent.body["reaction"]["message_id"], sent.to) else [131009]
        more: dict[str, Any] = {"timestamp": str(int(time.time()))}
        if sent.our_id:
            more["biz_opaque_callback_data"] = sent.our_id
        made = [
            failed(wa_id, sent.id, step, **more) if isinstance(step, int) else status(wa_id, sent.id, step, **more)
            for step in fate
        ]
        for statuses in [made] if self.switches.together else [[one] for one in made]:
            await asyncio.sleep(self.switches.gap_s)
            await self._post(batch(value(contacts=[contact(wa_id)], statuses=statuses)))

    async def _post(self, document: dict[str, Any]) -> None:
        """Post it, some times where it is not taken, as Meta does for days."""
        assert self._http is not None
        assert self.callback_url is not None
        webhooks = MetaWebhooks(self._http, self.callback_url, secret=self._app_secret)
        for n in range(_TRIES):
            try:
                if (await webhooks.post(document)).status < 300:
                    return
            except (ClientError, TimeoutError):
                pass
            await asyncio.sleep(_FIRST_GAP_S * 2**n)


def error(code: int, details: str, *, http: int = 400, subcode: int | None = None, headers: Any = None) -> web.Response:
    """A failure as Meta words it."""
    told = {"message": f"(#{code}) {details}", "type": "OAuthException", "code": code, "fbtrace_id": "Asandbox"}
    if subcode is not None:
        told |= {"error_subcode": subcode}
    told |= {"error_data": {"messaging_product": "whatsapp", "details": details}}
    return web.json_response({"error": told}, status=http, headers=headers)


def _worded(fault: Fault) -> web.Response:
    """The faults that Meta words in its own way."""
    headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else None
    if fault.kind == "limited":
        return error(130429, "Rate limit hit", http=fault.status or 429, headers=headers)
    if fault.kind == "bad_token":
        return error(190, "Error validating access token", http=fault.status or 401)
    code = fault.code if isinstance(fault.code, int) else 1
    return error(code, fault.message or "Something went wrong", http=fault.status or 400, headers=headers)
