"""The embedded PostgreSQL: made at the first start, then run on a socket that only we may reach, by a password."""

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
from daemon.stores.embedded.password import in_force, note_in_force, replace_file, verifier
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
_ACCESS: Final = "# written at every start\nlocal all all scram-sha-256\n"
"""Who may connect: whoever has the password. It stands in a file of ours, not in one of the data, which the user who
runs postgres could change."""

# a statement on standard input, which is otherwise closed or in use; the server ends after it
_FED: Final = 'exec 0<"$1" || exit 1; shift; exec "$@"'
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


def database_url(sockets: Path, password: str | None) -> str:
    """The address of our database on the socket in *sockets*. *password*: None for a server that has none yet."""
    secret = "" if password is None else f":{password}"
    return f"postgresql://{NAME}{secret}@/{NAME}?host={sockets}&port={_PORT}"


@dataclass(frozen=True, slots=True)
class Postgres:
    """How to start the server. *data_dir* holds its data and its log, *sockets* its socket. *system*: run the program
    of this machine, not that of the wheel."""

    data_dir: Path
    sockets: Path
    account: Account | None
    password: str
    fsync: bool
    setpriv: str | None
    system: bool = False

    def server(self) -> Server:
        """The server, not started. Raises: EmbeddedError when there is no program for it."""
        root = postgres_root(system=self.system)
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
        access = self.data_dir / "postgres.access"
        replace_file(access, _ACCESS, None, mode=0o644)
        if not in_force(data, self.password):
            await self._set_password(programs / "postgres", data, held)
        settings = (f"unix_socket_directories={self.sockets}", f"hba_file={access}")
        return self._command((str(programs / "postgres"), "-D", str(data), *self._switches(*settings)), signal.SIGINT)

    def _switches(self, *settings: str) -> list[str]:
        every = (*_SETTINGS, *settings) if self.fsync else (*_SETTINGS, *settings, *_WITHOUT_FSYNC)
        return [word for setting in every for word in ("-c", setting)]

    async def _initialise(self, initdb: Path, data: Path, held: IO[Any]) -> None:
        """Make the data under another name first, so that what a crash leaves is never taken for a database."""
        partial = data.with_name("postgres.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        if self.account is not None:
            os.chown(partial, self.account.uid, self.account.gid)
        secret = self.sockets / "secret"
        replace_file(secret, verifier(self.password) + "\n", self.account)
        argv = [str(initdb), "-D", str(partial), "-U", NAME, "-A", "scram-sha-256", f"--pwfile={secret}"]
        argv += ["-E", "UTF8", "--locale=C"]
        if not self.fsync:
            argv.append("--no-sync")
        await run_to_end(self._command(tuple(argv), signal.SIGKILL), held)
        secret.unlink()
        note_in_force(partial, self.password, self.account)
        partial.rename(data)
        _sync_directory(self.data_dir)

    async def _set_password(self, postgres: Path, data: Path, held: IO[Any]) -> None:
        """Give the role its password while no server runs, so that at no time one serves without it."""
        statement = self.sockets / "statement"
        replace_file(statement, f"ALTER ROLE {NAME} PASSWORD '{verifier(self.password)}';\n", self.account)
        alone = [str(postgres), "--single", "-D", str(data), *self._switches("exit_on_error=on"), "template1"]
        argv = ("/bin/sh", "-c", _FED, "sh", str(statement), *alone)
        await run_to_end(self._command(argv, signal.SIGINT), held)
        statement.unlink()
        note_in_force(data, self.password, self.account)

    def _command(self, argv: tuple[str, ...], end_with: signal.Signals) -> Command:
        return Command(argv, self.data_dir / "postgres.log", end_with, self.setpriv, self.account)

    async def _answers(self) -> bool:
        """Whether our database can be used; makes it when the server has none yet."""
        try:
            if not await self._connects():
                await self._create_database()
        except asyncpg.DuplicateDatabaseError:
            return True
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
            return False
        except asyncpg.PostgresError as exc:
            raise EmbeddedError(f"the embedded postgres cannot be used: {exc}; set FERRYMAN_DATA_DIR") from exc
        return True

    async def _connect(self, database: str) -> asyncpg.Connection[asyncpg.Record]:
        return await asyncpg.connect(
            host=str(self.sockets), port=_PORT, user=NAME, password=self.password, database=database, timeout=5
        )

    async def _connects(self) -> bool:
        try:
            conn = await self._connect(NAME)
        except asyncpg.InvalidCatalogNameError:
            return False
        await conn.close(timeout=5)
        return True

    async def _create_database(self) -> None:
        conn = await self._connect("postgres")
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
