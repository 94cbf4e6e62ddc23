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
from urllib.parse import SplitResult, urlsplit
from uuid import uuid4

import asyncpg
import hypothesis
import pytest
from redis.asyncio import Redis

from adapters.postgres import pool
from adapters.postgres.migrate import migrate
from adapters.redis import client as redis_client
from daemon.stores.embedded.servers import EmbeddedError, Servers, embedded
from tests.support.memory import memory

# the time that an example takes is that of this machine: the first example may import and compile what it uses
hypothesis.settings.register_profile("ferryman", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("ferryman")

_TEMPLATE: Final = f"ferryman_template_{uuid4().hex[:12]}"
_SLOW: Final = ("e2e", "chaos", "integration", "contract")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Hand tests out one at a time where they run side by side: the long ones come first, so none is left to the
    last."""
    if config.pluginmanager.hasplugin("xdist") and config.getoption("maxschedchunk") is None:
        config.option.maxschedchunk = 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole processes first, then what has servers, then the rest: where tests run side by side, none waits long for
    the last one."""
    items.sort(key=lambda item: next((n for n, name in enumerate(_SLOW) if name in item.path.parts), len(_SLOW)))


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The embedded servers that the environment does not replace, stopped at the end whatever the tests did."""
    wanted = {"redis": not os.environ.get("REDIS_URL"), "postgres": not os.environ.get("DATABASE_URL")}
    # a runner in the main thread: the servers end with the thread that started them. Its own loop is never the
    # current one of the thread, which is the tests'
    with (
        tempfile.TemporaryDirectory(prefix="ferryman-tests-", dir=memory(), ignore_cleanup_errors=True) as directory,
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
    ):
        stack = AsyncExitStack()
        Path(directory).chmod(0o711)  # postgres run by root is another user
        context = embedded(Path(directory) / "data", fsync=False, **wanted)
        try:
            started = runner.run(stack.enter_async_context(context))
        except EmbeddedError as exc:
            pytest.fail(f"no servers for the tests: {exc}", pytrace=False)
        try:
            yield started
        finally:
            runner.run(stack.aclose())


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A directory for the data of servers, for its owner alone as `tmp_path`, in memory where there is room."""
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
def postgres_url(servers: Servers) -> Iterator[str]:
    """The address of a Postgres server; it has a migrated template database while the session lasts."""
    url = servers.database_url or os.environ["DATABASE_URL"]
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(_make_template(url))
        try:
            yield url
        finally:
            runner.run(_administer(url, f"DROP DATABASE IF EXISTS {_TEMPLATE} WITH (FORCE)"))


@pytest.fixture
async def empty_database_url(postgres_url: str) -> AsyncIterator[str]:
    """The address of a database without any table, dropped after the test."""
    async with AsyncExitStack() as stack:
        yield await _fresh_database(postgres_url, "template0", stack)


@pytest.fixture
async def database_url(postgres_url: str) -> AsyncIterator[str]:
    """The address of a database of this test's own with the whole schema, dropped after the test."""
    async with AsyncExitStack() as stack:
        yield await _fresh_database(postgres_url, _TEMPLATE, stack)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[pool.Pool]:
    """A pool on `database_url`."""
    async with pool.connect(database_url, size=5) as connected:
        yield connected


async def _fresh_database(server: str, template: str, stack: AsyncExitStack) -> str:
    name = f"ferryman_test_{uuid4().hex[:12]}"
    # copying files is the faster way for a template of a few megabytes
    await _administer(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    stack.push_async_callback(_administer, server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    return _database(server, name)


async def _make_template(server: str) -> None:
    await _administer(server, f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0")
    conn = await asyncpg.connect(_database(server, _TEMPLATE))
    try:
        await migrate(conn)
    finally:
        await conn.close()


async def _administer(server: str, statement: str) -> None:
    conn = await asyncpg.connect(server)
    try:
        await conn.execute(statement)
    finally:
        await conn.close()


def _database(server: str, name: str) -> str:
    parts: SplitResult = urlsplit(server)
    return f"{parts.scheme}://{parts.netloc}/{name}" + (f"?{parts.query}" if parts.query else "")
