"""The page of `ferryman demo --keep`: one writes as the customer, and sees what the bot answers. It is served on
loopback, to this machine alone: requests by another name, and posts from other sites, are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from importlib import resources
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from adapters.postgres.operator import demo_conversation as stored
from adapters.postgres.operator.demo_conversation import KeptMessage
from adapters.postgres.pool import Pool
from daemon.conversations.clarification.hearing import ANSWER
from daemon.demo import chat
from daemon.demo.customer import NAME, Customer
from daemon.demo.page_view import LONGEST, Bubble, Shown, page, parts
from daemon.sandbox.chatwoot_account import Message

LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a file: WhatsApp takes no larger voice note."""

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:;"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_HOST: Final = "127.0.0.1"
_OURS: Final = (None, "same-origin", "none")
"""What a browser says of where a request comes from; None: it is no browser."""


@asynccontextmanager
async def served(customer: Customer, pool: Pool) -> AsyncIterator[str]:
    """The page, until the context ends. Yields its address."""
    chat_page = ChatPage(customer, pool)
    app = web.Application(middlewares=[chat_page.guard], client_max_size=LARGEST)
    app.add_routes(chat_page.routes())
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, _HOST, 0).start()
        port = runner.addresses[0][1]
        chat_page.names = {f"{_HOST}:{port}", f"localhost:{port}"}
        yield f"http://{_HOST}:{port}/"
    finally:
        await runner.cleanup()


class ChatPage:
    """What the page is asked. *names*: by which it may be asked."""

    def __init__(self, customer: Customer, pool: Pool) -> None:
        self.names: set[str] = set()
        self._customer = customer
        self._pool = pool
        self._files = {name: _packaged(name) for name in ("page.css", "page.js")}

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [
            web.get("/", self._page),
            web.get("/parts", self._parts),
            web.get("/page.css", self._style),
            web.get("/page.js", self._script),
            web.post("/say", self._say),
            web.post("/tap", self._tap),
            web.post("/file", self._file),
        ]

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what no page of ours asks, and have each answer say what a browser may do with it."""
        try:
            if request.host not in self.names or not self._is_own(request):
                raise web.HTTPForbidden(text="This page is for this machine alone.")
            answer = await handler(request)
        except web.HTTPException as refusal:
            refusal.headers.update(HEADERS)
            raise
        answer.headers.update(HEADERS)
        return answer

    def _is_own(self, request: web.Request) -> bool:
        origin = request.headers.get("Origin")
        return request.method == "GET" or (
            request.headers.get("Sec-Fetch-Site") in _OURS and origin in (None, f"http://{request.host}")
        )

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=page(await self._shown()), content_type="text/html")

    async def _parts(self, request: web.Request) -> web.Response:
        html = parts(await self._shown())
        tag = sha256(html.encode()).hexdigest()
        if any(one.value == tag for one in request.if_none_match or ()):
            return web.Response(status=304)
        answer = web.Response(text=html, content_type="text/html")
        answer.etag = tag
        return answer

    async def _style(self, request: web.Request) -> web.Response:
        return web.Response(text=self._files["page.css"], content_type="text/css")

    async def _script(self, request: web.Request) -> web.Response:
        return web.Response(text=self._files["page.js"], content_type="text/javascript")

    async def _say(self, request: web.Request) -> web.Response:
        form = await request.post()
        text = str(form.get("text") or "").strip()
        if not 0 < len(text) <= LONGEST:
            raise web.HTTPBadRequest(text=f"A message has 1 to {LONGEST} characters.")
        raise _shows(self._customer.speak(text) if form.get("voice") else self._customer.write(text))

    async def _tap(self, request: web.Request) -> web.Response:
        form = await request.post()
        title, id = form.get("title"), form.get("question")
        for talk in self._customer.talks:
            for one in talk.messages:
                if str(one.id) == id and isinstance(title, str) and title in chat.titles(one):
                    raise _shows(self._customer.tap(title, one))
        raise web.HTTPBadRequest(text="There is no such button.")

    async def _file(self, request: web.Request) -> web.Response:
        file = (await request.post()).get("file")
        if not isinstance(file, web.FileField) or not (body := file.file.read()):
            raise web.HTTPBadRequest(text="There is no file, or it is empty.")
        raise _shows(self._customer.send(file.filename or "file", file.content_type, body))

    async def _shown(self) -> Shown:
        talks = self._customer.talks
        talk = talks[-1]
        messages = [one for talk in talks for one in talk.messages if one.message_type != 2]
        kept = await stored.kept(self._pool, [chat.key_of(one) for one in messages])
        return Shown(
            name=NAME,
            phone=self._customer.phone,
            bubbles=[_bubble(one, kept) for one in messages],
            labels=sorted(talk.labels),
            attributes=talk.contact.custom_attributes,
            of_talk=talk.custom_attributes,
            orders=await stored.orders(self._pool, self._customer.phone, [one.id for one in talks]),
        )


def _shows(message: Message) -> web.HTTPSeeOther:
    """The answer that leads to the page, where *message* is in view."""
    return web.HTTPSeeOther(f"/#m{message.id}")


def _bubble(message: Message, kept: Mapping[str, KeptMessage]) -> Bubble:
    text = message.content or ""
    if message.message_type == 1:
        failed = f"not delivered: {message.content_attributes.get('external_error')}"
        beneath = failed if message.status == "failed" else "private note for agents" if message.private else ""
        return Bubble(message.id, "agents" if message.private else "bot", text, chat.titles(message), beneath)
    found = kept.get(chat.key_of(message))
    names = ", ".join(str(name) for name, _, _ in message.attachments)
    words = text or (found.content if found is not None else None) or names or "…"
    return Bubble(message.id, "customer", words, beneath=_beneath(message, found))


def _beneath(message: Message, kept: KeptMessage | None) -> str:
    """What was done with a message of the customer, in words."""
    if kept is None:
        return "on its way …"
    file = f"voice note, transcription {kept.voice}" if kept.voice else "file" if message.attachments else ""
    place = "archived" if kept.object_at else "being archived"
    meant = {"NOTE": "a note", "ORDER": "an order"}.get(kept.intent or "", "not understood yet")
    return ", ".join(filter(None, (file, place, ANSWER if kept.why == ANSWER else meant)))


def _packaged(name: str) -> str:
    return resources.files("daemon.demo").joinpath(name).read_text(encoding="utf-8")
