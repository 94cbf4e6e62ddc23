"""A browser without scripts: it keeps cookies, says what browsers say of their requests, and reads forms."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import ClientSession, DummyCookieJar
from redis.asyncio import Redis

from adapters.postgres import pool as pools
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.lifecycle import Background
from daemon.operator import users
from daemon.operator.passwords import Passwords
from daemon.operator.runs import Runs
from daemon.pages.routes import ROUTES, PageRoute
from daemon.pages.served import Pages
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from tests.support.listening import Rig, opener
from tests.support.records import records_of
from tests.support.services import services

PARTITIONS: Final = 16
PASSWORD: Final = "correct horse battery"
SAME: Final = {"Sec-Fetch-Site": "same-origin"}
COOKIE: Final = re.compile(r"([^=;]+)=([^;]*)(.*)")


@dataclass(frozen=True)
class Shown:
    """What a browser was answered."""

    status: int
    headers: Mapping[str, str]
    cookies: Sequence[str]
    text: str

    @property
    def leads_to(self) -> str:
        return self.headers.get("Location", "")


@dataclass
class Browser:
    """*jar*: its cookies, by name."""

    url: str
    session: ClientSession
    headers: dict[str, str] = field(default_factory=dict)
    jar: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Shown:
        """One request, as it is."""
        return await self._asked(method, path, body, headers)

    async def _asked(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], *, first: bool = False
    ) -> Shown:
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.jar:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        async with self.session.request(
            method, self.url + path, data=body, headers=sent, allow_redirects=False
        ) as answer:
            set_cookies = answer.headers.getall("Set-Cookie", [])
            for one in set_cookies:
                found = COOKIE.match(one)
                assert found is not None
                if "Max-Age=0" in found[3]:
                    self.jar.pop(found[1], None)
                else:
                    self.jar[found[1]] = found[2]
            stream = first and answer.content_type == "text/event-stream"
            text = (await answer.content.readuntil(b"\r\n\r\n")).decode() if stream else await answer.text()
            return Shown(answer.status, dict(answer.headers), set_cookies, text)

    async def peek(self, path: str) -> Shown:
        """As `get`, of an answer that may have no end: of a stream only what comes first."""
        return await self._asked("GET", path, None, {}, first=True)

    async def get(self, path: str) -> Shown:
        return await self.ask("GET", path)

    async def post(self, path: str, fields: Mapping[str, Any] | None = None, *, csrf: str | None = None) -> Shown:
        """Send a form of ours. *csrf*: another one than the pages have."""
        if csrf is None:
            csrf = field_of((await self.get("/account")).text, "csrf")
        body = urlencode({"csrf": csrf, **(fields or {})}, doseq=True)
        return await self.ask("POST", path, body, Content_Type="application/x-www-form-urlencoded", **SAME)

    async def log_in(self, name: str, password: str = PASSWORD) -> Shown:
        return await self.post("/login", {"name": name, "password": password}, csrf="")


def field_of(html: str, name: str) -> str:
    """The value of the first field *name*; "" where there is none."""
    found = re.search(rf'name="{name}" value="([^"]*)"', html)
    return unescape(found[1]) if found else ""


@dataclass(frozen=True)
class Office:
    """The pages behind a real server, on stores of a test."""

    rig: Rig
    db: Pool
    pages: Pages
    passwords: Passwords

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rig.port}"

    def browser(self, **headers: str) -> Browser:
        """A browser that nobody has used."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Browser(self.url, self.rig.session, named)

    async def operator(self, name: str, role: str = "admin") -> None:
        """Somebody who may log in."""
        await users.add(self.db, self.passwords, name, role, PASSWORD, "test")

    async def logged_in(self, role: str = "admin", name: str = "") -> Browser:
        """The browser of somebody of *role*, who has logged in."""
        name = name or f"{role}-{await self.db.fetchval('SELECT count(*) FROM operators')}"
        await self.operator(name, role)
        browser = self.browser()
        answer = await browser.log_in(name)
        assert (answer.status, answer.leads_to) == (303, "/")
        return browser


@asynccontextmanager
async def opened_office(
    redis: Redis, db: Pool, settings: Settings, *, table: Sequence[PageRoute] = ROUTES
) -> AsyncIterator[Office]:
    """The pages until the context ends. *settings*: with the addresses of the stores."""
    assert settings.database_url is not None
    runs, records = Runs(), records_of(db, settings)
    async with pools.connect(settings.database_url.get_secret_value(), size=4, at_once=False, reading=True) as read:
        pages = Pages(
            settings,
            db,
            read,
            Streams(redis, PARTITIONS),
            in_force=InForce(settings),
            runs=runs,
            records=records,
            table=table,
        )
        async with services(Background("operator-runs", runs.run)), opener(redis, db)(more=pages.routes()) as rig:
            rig.session._cookie_jar = DummyCookieJar()
            yield Office(rig, db, pages, Passwords())
