"""Valkey and PostgreSQL servers below one data directory, where the settings name none. They end with this process.

    data_dir/lock                  one owner at a time
             valkey/               the append-only file
             postgres/             the database cluster
             postgres.password     of its only role
             postgres.access       who may connect to it (pg_hba.conf)
             *.log                 what the servers say
             *.running             locked while a server, or what is left of one, has the data

The sockets are in a private temporary directory: the path of a socket holds about 100 bytes, and a
data directory may have a longer one.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import structlog

from daemon.lifecycle import Periodic
from daemon.stores.embedded.binaries import temporary_directories, valkey_binary
from daemon.stores.embedded.password import known_password, password_of
from daemon.stores.embedded.postgres import Postgres, database_url, postgres_account
from daemon.stores.embedded.processes import Account, Command, EmbeddedError, Server, find_setpriv, lock_now

__all__ = ["EmbeddedError", "Server", "Servers", "embedded"]

_SOCKETS_PREFIX: Final = "ferryman-"
_MAX_SOCKET_DIRECTORY: Final = 70  # bytes; macOS allows 103 for the whole path
_LOOK_S: Final = 0.5
_STEADY_S: Final = 10.0
"""A server that still runs this long after its start has no lasting fault."""

_LONGEST_PAUSE_S: Final = 4.0  # below _STEADY_S, so that a death soon after a start is known as such
_OWNER_GRACE_S: Final = 1.0  # a killed owner holds its lock for a moment longer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Servers:
    """What runs, with its addresses; None for what was not asked for.

    *redis_url* `unix:///…`, *database_url* `postgresql://…?host=…`: valid until the context ends, also over a
    restart of `valkey` or `postgres`.
    """

    redis_url: str | None
    database_url: str | None
    valkey: Server | None
    postgres: Server | None


@asynccontextmanager
async def embedded(
    data_dir: Path, *, redis: bool = True, postgres: bool = True, fsync: bool = True, system: bool = False
) -> AsyncIterator[Servers]:
    """Run the servers on the data below *data_dir*, made when missing, until the context ends.

    Enter it from the main thread: on Linux the servers end with the thread that started them. With *fsync* every
    accepted write is on disk before its answer; without, a power loss loses data (tests). *system*: run the programs of
    this machine, not those of the wheels. As root, postgres runs as another user.
    Raises: EmbeddedUnavailable when there is no server program for this platform; EmbeddedError
    when the directory is in use or not usable, or a server does not start. Each with one line that says what to do.
    """
    async with AsyncExitStack() as stack:
        with _usable(data_dir):
            servers = await _run(stack, data_dir, redis, postgres, fsync, system)
        yield servers


class KeptUp(Periodic):
    """A Service that starts *server* again when it has died. Start it from the main thread, like `embedded`.

    A server that dies soon after every start, as on a full disk, gets longer and longer pauses, and one line in the log
    for all of these deaths.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(f"embedded {server.name}", self._look, every_s=lambda: self._pause_s, at_once=False)
        self._server = server
        self._pause_s = _LOOK_S
        self._started_at = -math.inf
        self._failed = ""

    async def _look(self) -> None:
        name = self._server.name
        soon = time.monotonic() - self._started_at < _STEADY_S
        if self._server.pid is not None:
            if not soon and self._pause_s > _LOOK_S:
                self._pause_s, self._failed = _LOOK_S, ""
                log.info("store.steady_again", store=name)
            return
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S) if soon else _LOOK_S
        if not soon:
            log.error("store.died", store=name)
        elif self._pause_s == 2 * _LOOK_S:
            log.error("store.dies_again_and_again", store=name)
        try:
            await self._server.start()
        except (EmbeddedError, OSError) as exc:
            if str(exc) != self._failed:
                self._failed = str(exc)
                log.error("store.not_started", store=name, error=self._failed)
        else:
            if not soon:
                log.info("store.started_again", store=name)
        self._started_at = time.monotonic()


@asynccontextmanager
async def kept_up(servers: Servers) -> AsyncIterator[None]:
    """Start *servers* again when they die, until the context ends. Raises what ended one of the KeptUp services."""
    keepers = [KeptUp(server) for server in (servers.valkey, servers.postgres) if server is not None]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        for keeper in keepers:
            keeper.cut()
        await asyncio.gather(*(keeper.stopped() for keeper in keepers))


def in_use(data_dir: Path) -> Servers | None:
    """The servers that another process of Ferryman runs on *data_dir*, or None. They belong to that process: use them,
    but end nothing."""
    try:
        lock = open(data_dir / "lock", "r+")  # noqa: SIM115 - closed just below
    except OSError:
        return None
    with lock:
        if lock_now(lock):
            return None
        sockets = Path([*lock.read().splitlines(), "", ""][1])
    url = database_url(sockets / "postgres", known_password(data_dir))
    return Servers(f"unix://{sockets}/valkey.sock", url, None, None)


async def _run(
    stack: AsyncExitStack, data_dir: Path, redis: bool, postgres: bool, fsync: bool, system: bool
) -> Servers:
    """Start what is asked for; *stack* ends it, in the reverse order."""
    setpriv = find_setpriv()
    lock = stack.enter_context(_owned(data_dir))
    home = data_dir.resolve()  # noqa: ASYNC240 - a look at a local directory
    account = postgres_account(home, setpriv) if postgres else None
    sockets = stack.enter_context(_sockets(lock, account))
    password = password_of(home) if postgres else ""
    servers = Servers(
        f"unix://{sockets}/valkey.sock" if redis else None,
        database_url(sockets / "postgres", password) if postgres else None,
        _valkey(valkey_binary(system=system), home, sockets, fsync, setpriv) if redis else None,
        Postgres(home, sockets / "postgres", account, password, fsync, setpriv, system).server() if postgres else None,
    )
    running = [server for server in (servers.valkey, servers.postgres) if server is not None]
    stack.push_async_callback(_stop, running)
    await _start(running)
    return servers


async def _stop(servers: list[Server]) -> None:
    await asyncio.gather(*(server.stop() for server in servers))


async def _start(servers: list[Server]) -> None:
    """Start them side by side; the first that fails ends the others' start, and its error is ours."""
    try:
        async with asyncio.TaskGroup() as group:
            for server in servers:
                group.create_task(server.start())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _valkey(program: Path, home: Path, sockets: Path, fsync: bool, setpriv: str | None) -> Server:
    """Valkey as a durable store: every write in the append-only file, no snapshots, no eviction. Its socket is for our
    own user alone."""
    data, socket = home / "valkey", sockets / "valkey.sock"
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always" if fsync else "no",
        "maxmemory-policy": "noeviction",
    }
    argv = (str(program), *(word for name, value in options.items() for word in (f"--{name}", value)))

    async def prepare(_held: IO[Any]) -> Command:
        data.mkdir(mode=0o700, exist_ok=True)
        return Command(argv, home / "valkey.log", signal.SIGTERM, setpriv)

    async def answers() -> bool:
        return await _pong(socket)

    return Server("valkey", home / "valkey.running", prepare, answers)


async def _pong(socket: Path) -> bool:
    """Whether the server answers PING; not while it reads its file back (LOADING)."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        async with asyncio.timeout(5):
            return (await reader.readline()).startswith(b"+PONG")
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()


@contextmanager
def _usable(data_dir: Path) -> Iterator[None]:
    """While the servers start, turn an error of the file system into one line."""
    try:
        yield
    except OSError as exc:
        do = "make room there" if exc.errno in (errno.ENOSPC, errno.EDQUOT) else "set FERRYMAN_DATA_DIR"
        raise EmbeddedError(f"the data directory {data_dir} cannot be used ({exc}): {do}") from exc


@contextmanager
def _owned(data_dir: Path) -> Iterator[IO[str]]:
    """The lock of *data_dir*. It holds our process id and, as its second line, the directory of our sockets."""
    if not data_dir.exists():
        data_dir.mkdir(parents=True)
        # postgres run by root is another user, who may pass here and see nothing
        data_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
    _require_own(data_dir)
    with os.fdopen(os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+") as lock:
        give_up = time.monotonic() + _OWNER_GRACE_S
        while not lock_now(lock):
            if time.monotonic() > give_up:
                owner = lock.readline().strip() or "unknown"
                raise EmbeddedError(
                    f"another ferryman uses this data directory (pid {owner}): stop it, or set FERRYMAN_DATA_DIR"
                )
            time.sleep(0.02)
        yield lock


def _require_own(data_dir: Path) -> None:
    """As root, refuse a directory that another user can change: that user would choose the files that root writes."""
    found = data_dir.stat()
    if os.geteuid() == 0 and (found.st_uid != 0 or found.st_mode & 0o022):
        raise EmbeddedError(
            f"the data directory {data_dir} belongs to, or can be written by, another user, and this is root:"
            " run as that user, or give it to root alone (chown root, chmod go-w)"
        )


@contextmanager
def _sockets(lock: IO[str], account: Account | None) -> Iterator[Path]:
    """A private directory for the sockets, with one below it for postgres; both are gone afterwards."""
    former = Path([*lock.read().splitlines(), "", ""][1])
    place = next((path for path in temporary_directories(account) if _fits(path)), None)
    if place is None:
        raise EmbeddedError("no temporary directory fits a socket's path: set TMPDIR to a short one")
    sockets = Path(tempfile.mkdtemp(prefix=_SOCKETS_PREFIX, dir=place))
    try:
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n{sockets}\n")
        lock.flush()
        if former.name.startswith(_SOCKETS_PREFIX) and not former.is_symlink():
            shutil.rmtree(former, ignore_errors=True)  # of an owner that was killed
        postgres = sockets / "postgres"
        postgres.mkdir(mode=0o700)
        if account is not None:
            os.chown(postgres, account.uid, account.gid)
            sockets.chmod(0o711)
        yield sockets
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


def _fits(place: Path) -> bool:
    """Whether sockets below *place* have paths that are short enough and need no quoting anywhere."""
    longest = len(os.fsencode(place)) + len(_SOCKETS_PREFIX) + 8
    return longest <= _MAX_SOCKET_DIRECTORY and re.fullmatch(r"[\w./-]+", str(place), re.ASCII) is not None
