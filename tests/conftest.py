"""Real servers for every test that asks for one: those named by REDIS_URL and DATABASE_URL, else embedded ones.

Each test has an empty Redis database and a Postgres database of its own, with the schema in place.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from adapters.postgres import pool
from adapters.redis import client as redis_client
from daemon.stores.embedded.servers import EmbeddedError, Servers
from tests.support.servers import fresh_database, memory, migrated_database, open_directory, own_servers

_SLOW: Final = ("e2e", "chaos", "integration", "contract")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of whole processes first, then those with servers, then the rest: where tests run side by side, none waits
    long for the last one."""
    items.sort(key=lambda item: next((n for n, name in enumerate(_SLOW) if name in item.path.parts), len(_SLOW)))


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The embedded servers that the environment does not replace; no test kills them."""
    wanted = {"redis": not os.environ.get("REDIS_URL"), "postgres": not os.environ.get("DATABASE_URL")}
    try:
        with open_directory(memory()) as directory, own_servers(directory / "data", fsync=False, **wanted) as started:
            yield started
    except EmbeddedError as exc:
        pytest.fail(f"no servers for the tests: {exc}", pytrace=False)


@pytest.fixture(scope="module")
def own() -> Iterator[Servers]:
    """Servers of this module alone, which its tests may kill. They sync before they answer, as in production."""
    with own_servers() as started:
        yield started


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A directory for the data of servers, which only its owner may enter, as `tmp_path`; in memory where there is
    room."""
    with tempfile.TemporaryDirectory(prefix="ferryman-test-", dir=memory(), ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def redis_url(servers: Servers) -> str:
    """The address of Redis. Its database is emptied for every test that asks for `redis`."""
    return servers.redis_url or os.environ["REDIS_URL"]


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client on an empty database. It never repeats a command by itself."""
    client = redis_client.client(redis_url, timeout_s=5, connections=100)
    try:
        await client.flushdb()
        yield client
    finally:
        await client.aclose()


@pytest.fixture(scope="session")
def postgres_url(servers: Servers) -> str:
    """The address of a Postgres server."""
    return servers.database_url or os.environ["DATABASE_URL"]


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """The name of a database with the whole schema, to copy."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        stack = AsyncExitStack()
        url = runner.run(stack.enter_async_context(migrated_database(postgres_url)))
        try:
            yield urlsplit(url).path.removeprefix("/")
        finally:
            runner.run(stack.aclose())


@pytest.fixture
async def empty_database_url(postgres_url: str) -> AsyncIterator[str]:
    """The address of a database without any table, dropped after the test."""
    async with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture
async def database_url(postgres_url: str, template: str) -> AsyncIterator[str]:
    """The address of a database of this test's own with the whole schema, dropped after the test."""
    async with fresh_database(postgres_url, template) as url:
        yield url


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[pool.Pool]:
    """A pool on `database_url`."""
    async with pool.connect(database_url, size=5) as connected:
        yield connected
