"""Child processes that end when we end, however that happens: kill -9 of this process included.

On Linux `setpriv --pdeathsig` asks the kernel for it. Elsewhere a small shell holds the reading end of a pipe and
signals the child when the pipe closes. A child also inherits a locked file, and passes it on to its own children:
the lock is free when the last of them is gone, so the next start knows when no process uses the data any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from schemas.errors import FerrymanError

START_DEADLINE_S: Final = 120.0
"""Longest wait for a started server to answer; it may be reading its log back."""

STOP_DEADLINE_S: Final = 20.0
"""Longest wait for an orderly end; then it is killed."""

RELEASE_DEADLINE_S: Final = 60.0
"""Longest wait for the servers of an earlier process to be gone from their data."""

MAX_LOG_BYTES: Final = 10_000_000

# words in the log line that says why a server ended
_TELLING: Final = ("FATAL:", "PANIC:", "error:", "FATAL CONFIG", "Fatal", "can't", "Can't", "setpriv:", " # ")

# the parent may have died before the kernel knew of the request: then the shell has another parent
_GUARDED: Final = '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"'
# twice in the background, so that the watcher is no child of the server; a line on the pipe ends the watcher
_WATCHED: Final = 'exec 3<&0 </dev/null; ( ( read -r _ <&3 || kill -s "$1" $$ ) & ); exec 3<&-; shift; exec "$@"'


class EmbeddedError(FerrymanError):
    """The embedded servers cannot serve. The text is one line: what is wrong, and what to do."""


class EmbeddedUnavailable(EmbeddedError):
    """There is no server program for this platform."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user that a child of root runs as. *capability*: what it keeps, to pass directories that only root may
    enter."""

    uid: int
    gid: int
    capability: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A program to start. *log* takes its output, *end_with* ends it in order. *setpriv*: what `find_setpriv` found."""

    argv: tuple[str, ...]
    log: Path
    end_with: signal.Signals
    setpriv: str | None
    account: Account | None = None


def find_setpriv() -> str | None:
    """The path of a `setpriv` that can end a child with its parent, or None."""
    path = shutil.which("setpriv")
    if path is None:
        return None
    probe = subprocess.run(  # noqa: S603 - a fixed command
        [path, "--pdeathsig", "KILL", "--", "true"], capture_output=True, check=False
    )
    return path if probe.returncode == 0 else None


class Child:
    """One process of ours. Start it from the main thread: the kernel ends the child when the *thread* ends."""

    def __init__(self, command: Command, held: IO[Any]) -> None:
        self._command = command
        self._leash: int | None = None
        with os.fdopen(_private(command.log), "ab") as log:
            if log.seek(0, os.SEEK_END) > MAX_LOG_BYTES:
                log.truncate(0)
            self._log_start = log.seek(0, os.SEEK_END)
            self._popen = self._spawn(log, held)

    def _spawn(self, log: IO[bytes], held: IO[Any]) -> subprocess.Popen[bytes]:
        account, setpriv = self._command.account, self._command.setpriv
        switches: dict[str, Any] = {}
        if account is not None and (account.capability is None or setpriv is None):
            switches = {"user": account.uid, "group": account.gid, "extra_groups": []}
        stdin: int = subprocess.DEVNULL
        if setpriv is None:
            stdin, self._leash = os.pipe()
        try:
            return subprocess.Popen(  # noqa: S603 - our own arguments
                _wrapped(self._command),
                stdin=stdin,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                pass_fds=(held.fileno(),),
                start_new_session=True,  # Ctrl-C is for the daemon, which still needs its servers to drain
                **switches,
            )
        except (OSError, subprocess.SubprocessError) as exc:
            self._release()
            raise EmbeddedError(f"{self._command.argv[0]} cannot be started: {exc}") from exc
        finally:
            if setpriv is None:
                os.close(stdin)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        code = self._popen.poll()
        if code is not None:
            self._release()
        return code

    async def wait(self) -> int:
        """Wait for the end. Works on every event loop, since it polls."""
        pause = 0.002
        while (code := self.exit_code()) is None:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.05)
        return code

    async def stop(self) -> None:
        """Ask for an orderly end; kill after STOP_DEADLINE_S, or at once when cancelled."""
        try:
            if self.exit_code() is None:
                self._popen.send_signal(self._command.end_with)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STOP_DEADLINE_S):
                        await self.wait()
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self.exit_code() is None:
            self._popen.kill()
            self._popen.wait()
            self._release()

    def last_words(self) -> str:
        """The line of its log, of this run only, that says best why it ended; '' when there is none."""
        with self._command.log.open("rb") as log:
            log.seek(max(self._log_start, self._command.log.stat().st_size - 65_536))
            lines = [line for raw in log.read().decode(errors="replace").splitlines() if (line := raw.strip())]
        telling = [line for line in lines if any(word in line for word in _TELLING)]
        return (telling or lines or [""])[-1][:500]

    def _release(self) -> None:
        if self._leash is not None:
            with contextlib.suppress(OSError):
                os.write(self._leash, b"\n")
            os.close(self._leash)
            self._leash = None


class Server:
    """A server on its data that can be started, stopped, killed and started again, on one socket.

    *prepare* makes the data ready while no other process uses them, and returns the command. It gets the locked file,
    which it must pass to every process that it starts. *answers*: whether the server serves now.
    """

    def __init__(
        self,
        name: str,
        held: Path,
        prepare: Callable[[IO[Any]], Awaitable[Command]],
        answers: Callable[[], Awaitable[bool]],
    ) -> None:
        self.name = name
        self._held = held
        self._prepare = prepare
        self._answers = answers
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return self._child.pid if self._child is not None and self._child.exit_code() is None else None

    async def start(self) -> None:
        """Start it, wait until it serves. Raises: EmbeddedError with the server's own last words."""
        if self.pid is not None:
            raise EmbeddedError(f"the embedded {self.name} runs already")
        with await _claim(self._held, self.name) as held:
            self._child = Child(await self._prepare(held), held)
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                await self._until_serving(self._child)
        except TimeoutError:
            words = self._child.last_words()
            self.kill()
            raise EmbeddedError(
                f"the embedded {self.name} does not answer after {START_DEADLINE_S:.0f} s: {words}"
            ) from None
        except BaseException:
            self.kill()
            raise

    async def _until_serving(self, child: Child) -> None:
        pause = 0.002
        while not await self._answers():
            code = child.exit_code()
            if code is not None:
                why = child.last_words() or f"exit code {code}"
                raise EmbeddedError(f"the embedded {self.name} did not start: {why}")
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, 0.1)

    async def stop(self) -> None:
        """An orderly end; does nothing when it does not run."""
        if self._child is not None:
            await self._child.stop()

    def kill(self) -> None:
        """What kill -9 does, for tests and for a server that will not end."""
        if self._child is not None:
            self._child.kill()


async def run_to_end(command: Command, held: IO[Any]) -> None:
    """Run a short program. Raises: EmbeddedError with its last words when it fails."""
    child = Child(command, held)
    try:
        code = await child.wait()
    finally:
        child.kill()
    if code != 0:
        why = child.last_words() or f"exit code {code}"
        raise EmbeddedError(f"{Path(command.argv[0]).name} failed: {why}")


def lock_now(file: IO[Any]) -> bool:
    """Whether *file* is ours now, without waiting. Closing it, here and in every child that got it, gives it back."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _claim(path: Path, name: str) -> IO[bytes]:
    """The locked file at *path*, once no process of an earlier run has it any more."""
    file = os.fdopen(_private(path), "ab")
    os.fchmod(file.fileno(), 0o600)
    try:
        async with asyncio.timeout(RELEASE_DEADLINE_S):
            while not lock_now(file):  # noqa: ASYNC110 - a file lock has no event
                await asyncio.sleep(0.01)
    except BaseException as exc:
        file.close()
        if isinstance(exc, TimeoutError):
            text = f"a {name} of an earlier run still uses {path.parent}: end it, or set FERRYMAN_DATA_DIR"
            raise EmbeddedError(text) from None
        raise
    return file


def _private(path: Path) -> int:
    """A file to append to, made for us alone if there is none. A link is refused: as root, we would write wherever the
    one who made it wants."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _wrapped(command: Command) -> list[str]:
    ending = command.end_with.name.removeprefix("SIG")
    if command.setpriv is None:
        return ["/bin/sh", "-c", _WATCHED, "sh", ending, *command.argv]
    account, switches = command.account, list[str]()
    if account is not None and account.capability is not None:
        kept = f"+{account.capability}"
        switches = ["--reuid", str(account.uid), "--regid", str(account.gid), "--clear-groups"]
        switches += ["--inh-caps", kept, "--ambient-caps", kept]
    guard = ["/bin/sh", "-c", _GUARDED, "sh", str(os.getpid())]
    return [command.setpriv, *switches, "--pdeathsig", ending, "--", *guard, *command.argv]


def _environment() -> dict[str, str]:
    """The part of our environment that a server needs: none of our secrets, none of the user's PG* settings."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {"LC_ALL": "C", "TZ": "UTC"} | {name: os.environ[name] for name in kept if name in os.environ}
