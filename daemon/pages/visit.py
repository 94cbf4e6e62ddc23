"""What a page's handler is given: who asks, what for, and how it answers."""

from __future__ import annotations

import asyncio
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qsl, quote
from zoneinfo import ZoneInfo

from aiohttp import web

from adapters.postgres.pool import Pool
from adapters.postgres.sessions import MOST_HOURS, Session
from adapters.redis.streams import Streams
from daemon.operator import logins
from daemon.operator.logins import Browser
from daemon.operator.passwords import Passwords
from daemon.operator.runs import Runs
from daemon.operator.tail import Tail
from daemon.pages.broadcast import Broadcaster, Produce
from daemon.pages.gate import CSRF_FIELD, Gate, csrf_of
from daemon.pages.rendering import Rendering, zone_named
from daemon.pages.routes import PageRoute, allows
from daemon.records.pushing.service import Records
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from schemas.principals import Principal

ZONE_COOKIE: Final = "ferryman-zone"
SAID_COOKIE: Final = "ferryman-said"

LONGEST_SAID: Final = 500
LARGEST_FORM: Final = 1_000_000
"""Bytes of a form."""

MOST_FIELDS: Final = 1000
FORM_S: Final = 15.0
"""Longest wait for a form."""


class Frame:
    """What the pages of a process share."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        read: Pool,
        bus: Streams,
        gate: Gate,
        table: Sequence[PageRoute],
        *,
        in_force: InForce,
        runs: Runs,
        records: Records,
    ) -> None:
        self.settings = settings
        self.pool = pool
        self.read = read
        self.bus = bus
        self.in_force = in_force
        self.runs = runs
        self.records = records
        self.deciding = asyncio.Lock()
        self.tail = Tail(read)
        self.gate = gate
        self.passwords = Passwords()
        self.broadcaster = Broadcaster()
        self.rendering = Rendering(settings)
        self.table = table

    def visit(self, request: web.Request) -> Visit:
        """Of one request."""
        return Visit(self, request)


class Visit:
    """A request of a browser. *session*: of whoever has logged in; None: nobody has. *pool*: for what changes
    something. *read*: for what only reads; a statement has three seconds there. *bus*: the streams. *runs*: what this
    process does behind its answers. *in_force*: its secrets. *records*: by which it writes records."""

    def __init__(self, frame: Frame, request: web.Request) -> None:
        self.frame = frame
        self.request = request
        self.settings = frame.settings
        self.pool = frame.pool
        self.read = frame.read
        self.bus = frame.bus
        self.in_force = frame.in_force
        self.runs = frame.runs
        self.records = frame.records
        self.now = datetime.now(UTC)
        self.session: Session | None = None
        self.token = ""
        self.revealed: frozenset[str] = frozenset()
        """Subjects ("kind:id") that this session shows unmasked."""

        self._form: Mapping[str, str] | None = None
        self._lists: Mapping[str, list[str]] = {}

    # who asks

    async def recognise(self) -> None:
        """Find out whose session it is."""
        token = self.request.cookies.get(self.frame.gate.cookie(self.request), "")
        if not token or len(token) > 100:
            return
        self.session = await logins.current(self.read, self.pool, token)
        if self.session is not None:
            self.token = token
            self.revealed = await logins.revealed(self.read, token)

    @property
    def principal(self) -> Principal:
        """Who asks, for verbs of `daemon.operator`; only where the route is not for anybody."""
        assert self.session is not None
        return Principal(kind="operator", name=self.session.name, role=self.session.role)

    @property
    def by(self) -> str:
        """The actor, for the audit log."""
        return self.principal.name

    def may(self, method: str, path: str) -> bool:
        """Whether the route of the table at *path* is for whoever asks: templates leave out what is not."""
        route = next(one for one in self.frame.table if (one.method, one.path) == (method, path))
        return allows(self.session.role if self.session else "anybody", route.role)

    @property
    def browser(self) -> Browser:
        """Where somebody logs in."""
        address = self.frame.gate.forwarded.address(self.request)
        agent = self.request.headers.get("User-Agent", "")
        return Browser(address, "".join(c for c in agent[:200] if c.isprintable()))

    # what for

    async def form(self) -> Mapping[str, str]:
        """The fields of a POST: of each its last value. Raises: web.HTTPException, for what is no form of ours."""
        if self._form is None:
            pairs = await read_form(self.request)
            self._form = dict(pairs)
            self._lists = {name: [v for n, v in pairs if n == name] for name in self._form}
        return self._form

    async def values(self, name: str) -> list[str]:
        """Every value of one field of a POST, as of ticks."""
        await self.form()
        return self._lists.get(name, [])

    # how it answers

    def page(self, template: str, *, status: int = 200, **values: Any) -> web.Response:
        """The page that *template* makes of *values* and of what `templates/layout.html` needs."""
        said = self._take_said()
        text = self.frame.rendering.render(template, self._shared() | {"said": said} | values)
        answer = web.Response(text=text, status=status, content_type="text/html")
        if self.request.cookies.get(SAID_COOKIE) is not None:
            answer.del_cookie(SAID_COOKIE, path="/")
        return answer

    def part(self, template: str, **values: Any) -> str:
        """A part of a page, as a stream sends it."""
        return self.frame.rendering.render(template, self._shared() | values)

    def see(self, path: str, said: str = "") -> web.Response:
        """The answer to a POST that has done something: *path* comes next, and says what was done."""
        answer = web.Response(status=303, headers={"Location": path})
        if said and self.token:
            kept = _signed(self.token, said[:LONGEST_SAID])
            answer.set_cookie(SAID_COOKIE, kept, httponly=True, samesite="Lax", path="/", max_age=60)
        return answer

    def error(self, status: int, text: str, *, id: str = "") -> web.Response:
        """A page that says what is wrong. *id*: by which the log has it."""
        return self.page("error.html", status=status, code=status, text=text, id=id)

    async def stream(self, key: str, produce: Produce, *, every_s: float = 2.0) -> web.StreamResponse:
        """Server-sent events: what *produce* renders, whenever it is another text than before. It runs once for all who
        look at *key*, so it must not depend on who asks but for what *key* says."""
        token = self.token

        async def goes_on() -> bool:
            return await logins.lives(self.read, token)

        return await self.frame.broadcaster.stream(self.request, key, produce, every_s=every_s, goes_on=goes_on)

    def log_in(self, answer: web.StreamResponse, token: str) -> None:
        """Give the browser the session of *token*."""
        https = self.frame.gate.is_https(self.request)
        name = self.frame.gate.cookie(self.request)
        answer.set_cookie(name, token, path="/", httponly=True, secure=https, samesite="Lax", max_age=MOST_HOURS * 3600)

    def log_out(self, answer: web.StreamResponse) -> None:
        """Take the session from the browser."""
        https = self.frame.gate.is_https(self.request)
        answer.del_cookie(self.frame.gate.cookie(self.request), path="/", secure=https, httponly=True, samesite="Lax")

    def login_address(self) -> str:
        """Where somebody logs in who wants to see this page next."""
        if self.request.method != "GET" or self.request.path == "/":
            return "/login"
        return "/login?next=" + quote(self.request.raw_path, safe="")

    def safe_next(self, path: str) -> str:
        """*path*, where it leads to a page of ours; else "/"."""
        plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isascii() and path.isprintable()
        return path if plain and len(path) <= 2000 else "/"

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which times are shown: of the cookie, else UTC."""
        return zone_named(self.request.cookies.get(ZONE_COOKIE, ""))

    def _shared(self) -> dict[str, Any]:
        """What every template may use."""
        role = self.session.role if self.session else "anybody"
        nav = [one for one in self.frame.table if one.nav and allows(role, one.role)]
        return {
            "visit": self,
            "me": self.session,
            "nav": nav if self.session else [],
            "here": self.request.path,
            "csrf_field": CSRF_FIELD,
            "csrf": csrf_of(self.token) if self.token else "",
            "now": self.now,
            "zone": self.zone,
            "said": "",
        }

    def _take_said(self) -> str:
        kept = self.request.cookies.get(SAID_COOKIE, "")
        return _unsigned(self.token, kept) if kept and self.token else ""


async def read_form(request: web.Request) -> list[tuple[str, str]]:
    """The fields of a POST. Raises: web.HTTPException, for what is no form of ours."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise web.HTTPUnsupportedMediaType(text="This is no form of ours.")
    body = bytearray()
    try:
        async with asyncio.timeout(FORM_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > LARGEST_FORM:
                    raise web.HTTPRequestEntityTooLarge(LARGEST_FORM, len(body), text="This is more than a form has.")
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="The form did not come to its end.") from None
    except ValueError:
        raise web.HTTPBadRequest(text="This is no form of ours.") from None


def _signed(token: str, text: str) -> str:
    mark = hmac.new(token.encode(), b"said:" + text.encode(), sha256).hexdigest()
    return mark + urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _unsigned(token: str, kept: str) -> str:
    """The text in *kept*, where this session has said it; "" else: nobody puts words on our pages."""
    try:
        text = urlsafe_b64decode(kept[64:] + "=" * (-len(kept[64:]) % 4)).decode()
    except ValueError:
        return ""
    return text if hmac.compare_digest(_signed(token, text).encode(), kept.encode(errors="replace")) else ""
