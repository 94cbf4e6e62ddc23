"""Servers that belong to tests: a Valkey and a Postgres to kill, stop and freeze, and databases on a Postgres."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg

from adapters.postgres.migrate import migrate
from adapters.postgres.pool import store_is_down
from adapters.redis.streams import StreamErrors
from daemon.stores.embedded.servers import Server, Servers, embedded

_MEMORY: Final = Path("/dev/shm")
_ROOM: Final = 1 << 30  # bytes for each test process: two clusters of Postgres, their logs at their longest, databases


def memory() -> Path | None:
    """A directory in memory with room in it, which every user may enter and which holds no programs. None: the default
    temporary directory has to do."""
    try:
        free = shutil.disk_usage(_MEMORY).free if os.access(_MEMORY, os.W_OK) else 0
    except OSError:
        free = 0
    return _MEMORY if free >= _ROOM * int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) else None


@contextmanager
def open_directory(place: Path | None = None) -> Iterator[Path]:
    """A temporary directory that every user may enter, as Postgres has to, which root runs as another user."""
    with tempfile.TemporaryDirectory(prefix="ft-", dir=place, ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@contextmanager
def own_servers(
    data_dir: Path | None = None, *, redis: bool = True, postgres: bool = True, fsync: bool = True
) -> Iterator[Servers]:
    """Servers that no other test uses, so that they may be killed; they are stopped in the end, whatever happens.

    *data_dir*: where their data are; a temporary directory if not given. *fsync*: sync before each answer, as in
    production. Enter it from the main thread: the servers end with the thread that started them.
    """
    with open_directory() as temporary, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        # the runner's loop is never the current one of the thread, which is the loop of the tests
        stack = AsyncExitStack()
        context = embedded(data_dir or temporary / "data", redis=redis, postgres=postgres, fsync=fsync)
        started = runner.run(stack.enter_async_context(context))
        try:
            yield started
        finally:
            runner.run(stack.aclose())


async def ensure_running(*servers: Server | None) -> None:
    """Start those of *servers* that do not run."""
    for server in servers:
        if server is not None and server.pid is None:
            await server.start()


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """SIGSTOP for *server* and its child processes until the context ends."""
    assert server.pid is not None
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    family = [server.pid, *map(int, children)]
    _signal(family, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(family, signal.SIGCONT)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # a child process that has ended meanwhile
            os.kill(pid, number)


def forgiving(condition: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    """*condition*, which is false while a store is away."""

    async def asked() -> bool:
        try:
            return await condition()
        except StreamErrors:
            return False
        except Exception as exc:
            if not store_is_down(exc):
                raise
            return False

    return asked


@asynccontextmanager
async def fresh_database(server: str, template: str = "template0", *, more: str = "") -> AsyncIterator[str]:
    """The address of a new database on the Postgres at *server*, a copy of *template*; dropped in the end. *more*:
    options of CREATE DATABASE."""
    name = f"ferryman_test_{uuid4().hex[:12]}"
    # copying files is the faster way for a template of a few megabytes
    await _administer(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy {more}")
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        await _administer(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@asynccontextmanager
async def migrated_database(server: str) -> AsyncIterator[str]:
    """As `fresh_database`, with the whole schema."""
    async with fresh_database(server) as url:
        await migrate_at(url)
        yield url


async def copied(database_url: str, name: str) -> str:
    """The address of a copy of the database as it is, under *name*: what a dump and a restore make."""
    conn, source = await asyncpg.connect(_named(database_url, "postgres")), urlsplit(database_url).path[1:]
    try:
        await conn.execute(f"ALTER DATABASE {source} ALLOW_CONNECTIONS false")  # a pool connects anew at once
        await conn.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", source)
        await conn.execute(f"CREATE DATABASE {name} TEMPLATE {source}")
        await conn.execute(f"ALTER DATABASE {source} ALLOW_CONNECTIONS true")
    finally:
        await conn.close()
    return _named(database_url, name)


async def dropped(database_url: str, name: str) -> None:
    """Drop the database *name* beside the one at *database_url*."""
    await _administer(_named(database_url, "postgres"), f"DROP DATABASE {name} WITH (FORCE)")


def _named(database_url: str, name: str) -> str:
    return urlsplit(database_url)._replace(path=f"/{name}").geturl()


async def migrate_at(url: str) -> None:
    """Make the whole schema in the database at *url*."""
    conn = await asyncpg.connect(url)
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
