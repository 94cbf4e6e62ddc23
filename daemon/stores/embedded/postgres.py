"""The embedded PostgreSQL: made at the first start, then run on a socket that only we may reach."""

from __future__ import annotations

import os
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import asyncpg

from daemon.stores.embedded.binaries import enterable, postgres_root, reachable
from daemon.stores.embedded.processes import Account, Command, EmbeddedError, Server, run_to_end

NAME: Final = "ferryman"
"""The role and the database."""

_NOBODY: Final = 65534  # postgres refuses to run as root
_CAPABILITIES: Final = {
    "dac_read_search": 2,
    "dac_override": 1,
}  # numbers from linux/capability.h; least first
_PORT: Final = 5432  # part of the socket's name; nothing listens on the network

_SETTINGS: Final = (
    "listen_addresses=",
    f"port={_PORT}",
    "unix_socket_permissions=0700",
    "timezone=UTC",
    "shared_buffers=64MB",
    "max_wal_size=512MB",
    "jit=off",
    "log_checkpoints=off",
    # errors of statements reach us by the connection; in a file they would spread personal data
    "log_min_messages=log",
    "log_min_error_statement=panic",
    "log_error_verbosity=terse",
)
_WITHOUT_FSYNC: Final = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")


def postgres_account(data_dir: Path, setpriv: str | None) -> Account | None:
    """The account that runs postgres when we are root: the owner of its data, at first `nobody`. None: our own.

    Raises: EmbeddedError when that account could not enter *data_dir*.
    """
    if os.geteuid() != 0:
        return None
    account = Account(_NOBODY, _NOBODY)
    data = data_dir / "postgres"
    if data.exists() and data.stat().st_uid != 0:
        account = Account(data.stat().st_uid, data.stat().st_gid)
    if enterable(data_dir, account):
        return account
    for capability, number in _CAPABILITIES.items():
        if setpriv is not None and _have_capability(number):
            return Account(account.uid, account.gid, capability)
    raise EmbeddedError(
        f"the user {account.uid}, whom root runs postgres as, cannot enter {data_dir}: set FERRYMAN_DATA_DIR to a "
        "directory below ones that others may enter, or set DATABASE_URL"
    )


def database_url(sockets: Path) -> str:
    """The address of our database on the socket in *sockets*."""
    return f"postgresql://{NAME}@/{NAME}?host={sockets}&port={_PORT}"


@dataclass(frozen=True, slots=True)
class Postgres:
    """How to start the server. *data_dir* holds its data and its log, *sockets* its socket."""

    data_dir: Path
    sockets: Path
    account: Account | None
    fsync: bool
    setpriv: str | None

    def server(self) -> Server:
        """The server, not started. Raises: EmbeddedError when there is no program for it."""
        root = postgres_root()
        programs = (reachable(root, self.account) if self.account is not None else root) / "bin"

        async def prepare(held: IO[Any]) -> Command:
            return await self._prepare(programs, held)

        return Server("postgres", self.data_dir / "postgres.running", prepare, self._answers)

    async def _prepare(self, programs: Path, held: IO[Any]) -> Command:
        data = self.data_dir / "postgres"
        if not data.exists():
            await self._initialise(programs / "initdb", data, held)
        # the lock is ours, so the server that wrote these is gone; its process id may belong to another program by now
        _forget_stale(data)
        for leftover in self.sockets.glob(".s.PGSQL.*"):
            leftover.unlink()
        settings = (*_SETTINGS, f"unix_socket_directories={self.sockets}")
        argv = [str(programs / "postgres"), "-D", str(data)]
        for setting in settings if self.fsync else (*settings, *_WITHOUT_FSYNC):
            argv += ["-c", setting]
        return self._command(tuple(argv), signal.SIGINT)

    async def _initialise(self, initdb: Path, data: Path, held: IO[Any]) -> None:
        """Make the data under another name first, so that what a crash leaves is never taken for a database."""
        partial = data.with_name("postgres.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        if self.account is not None:
            os.chown(partial, self.account.uid, self.account.gid)
        argv = [str(initdb), "-D", str(partial), "-U", NAME, "-A", "trust", "-E", "UTF8", "--locale=C"]
        if not self.fsync:
            argv.append("--no-sync")
        await run_to_end(self._command(tuple(argv), signal.SIGKILL), held)
        partial.rename(data)
        _sync_directory(self.data_dir)

    def _command(self, argv: tuple[str, ...], end_with: signal.Signals) -> Command:
        return Command(argv, self.data_dir / "postgres.log", end_with, self.setpriv, self.account)

    async def _answers(self) -> bool:
        """Whether our database can be used; makes it when the server has none yet."""
        try:
            if not await _connects(self.sockets, NAME):
                await _create_database(self.sockets)
        except asyncpg.DuplicateDatabaseError:
            return True
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
            return False
        except asyncpg.PostgresError as exc:
            raise EmbeddedError(f"the embedded postgres cannot be used: {exc}; set FERRYMAN_DATA_DIR") from exc
        return True


async def _connects(sockets: Path, database: str) -> bool:
    try:
        conn = await asyncpg.connect(host=str(sockets), port=_PORT, user=NAME, database=database, timeout=5)
    except asyncpg.InvalidCatalogNameError:
        return False
    await conn.close(timeout=5)
    return True


async def _create_database(sockets: Path) -> None:
    conn = await asyncpg.connect(host=str(sockets), port=_PORT, user=NAME, database="postgres", timeout=5)
    try:
        await conn.execute(f"CREATE DATABASE {NAME}")
    finally:
        await conn.close(timeout=5)


def _have_capability(number: int) -> bool:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    return all(
        (found := re.search(rf"^{name}:\s*([0-9a-f]+)", status, re.M)) is not None and int(found[1], 16) >> number & 1
        for name in ("CapPrm", "CapBnd")
    )


def _forget_stale(data: Path) -> None:
    """Remove a postmaster.pid, unless its process is a server that an operator started by hand on these data."""
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except FileNotFoundError:
        return
    except ValueError:
        pid = 0
    try:
        by_hand = os.path.samefile(f"/proc/{pid}/cwd", data)
    except OSError:
        by_hand = False
    if not by_hand:
        pid_file.unlink()


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
