"""One browser and one daemon for all tests here. Both run on between tests: their loop is that of the session."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, Final

import pytest
import pytest_asyncio
from aiohttp import ClientError, ClientSession, ClientTimeout
from playwright.async_api import Browser, async_playwright

from adapters.postgres import pool
from daemon.operator.logins import demo_link
from daemon.sandbox import orders
from tests.support.crawled import crawled
from tests.support.daemons import API_KEY
from tests.support.filled import HOSTILE, fill
from tests.support.filled_daemon import FilledDaemon, daemon_process
from tests.support.servers import memory, open_directory
from tests.support.until import until

WANTED: Final = "BROWSER_TESTS"
"""The environment variable that says that a browser is here: then its absence is a failure."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here runs in the session's loop, as its browser does."""
    for item in items:
        if "browser" in item.path.parts and isinstance(item, pytest.Function) and iscoroutinefunction(item.function):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def program() -> str:
    """Where Chromium is; without it the tests here are skipped."""
    found = shutil.which("chromium")
    if found is None and os.environ.get(WANTED):
        pytest.fail(f"chromium is not installed, and {WANTED} says that it is", pytrace=False)
    if found is None:
        pytest.skip("chromium is not installed")
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(program: str) -> AsyncIterator[Browser]:
    """The one browser."""
    async with async_playwright() as started:
        browser = await started.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def daemon(program: str) -> Iterator[FilledDaemon]:
    """The daemon whose pages are looked at."""
    with open_directory(memory()) as directory, daemon_process(directory) as started:
        yield started


@dataclass(frozen=True)
class Installation:
    """A filled installation. *state*: the cookies of an admin who has logged in. *pages*: the addresses of its pages:
    tests.support.crawled."""

    daemon: FilledDaemon
    db: pool.Pool
    state: Any
    pages: tuple[str, ...]

    @property
    def url(self) -> str:
        return self.daemon.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def installation(chromium: Browser, daemon: FilledDaemon) -> AsyncIterator[Installation]:
    """The daemon, ready and filled, and an admin who has logged in there by a link that is good once."""
    async with ClientSession(timeout=ClientTimeout(30)) as session, pool.connect(daemon.database_url, size=3) as db:
        await until(lambda: _ready(daemon, session), "a daemon that is ready")
        await _receive_orders(daemon, session)
        await fill(daemon.database_url)
        link = await demo_link(db, "Noa", "test")
        context = await chromium.new_context()
        page = await context.new_page()
        await page.goto(f"{daemon.url}/link/{link}")
        async with page.expect_navigation():
            await page.get_by_role("button", name="Log in", exact=True).click()
        state: Any = await context.storage_state()
        await context.close()
        cookies = {cookie["name"]: cookie["value"] for cookie in state["cookies"]}
        yield Installation(
            daemon, db, state, await crawled(daemon.url, cookies, [f"/people/{person}" for person in await _people(db)])
        )


async def _people(db: pool.Pool) -> list[str]:
    """Two people, who are found by a form and not by a link."""
    rows = await db.fetch("SELECT contact_id FROM contact_identities WHERE kind = 'phone' ORDER BY created_at LIMIT 2")
    return [str(row["contact_id"]) for row in rows]


async def _ready(daemon: FilledDaemon, session: ClientSession) -> bool:
    assert not daemon.ended(), daemon.log.read_text()[-3000:]
    with suppress(ClientError, OSError, asyncio.TimeoutError):
        async with session.get(f"{daemon.url}/readyz") as answer:
            return answer.status == 200
    return False


async def _receive_orders(daemon: FilledDaemon, session: ClientSession) -> None:
    """Orders on their real way, from people with hostile names."""
    for n in range(3):
        order = orders.make_order(random.Random(n), n, branch="il")
        order["form"]["client"]["name"] = HOSTILE
        async with session.post(f"{daemon.url}/webhooks/orders", json=order, headers={"X-API-Key": API_KEY}) as answer:
            assert answer.status == 202, await answer.text()
