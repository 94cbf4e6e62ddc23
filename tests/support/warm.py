"""Runs commands of ours, each in a process of its own that is forked from one with the libraries imported already.

A verb spends most of its time on importing them, and a daemon most of its start; tests run hundreds of both. What is a
command's own, it imports itself. `python -m tests.support.warm SOCKET` serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

LIMIT_S: Final = 60.0


class Warm:
    """The process to fork from. It ends with ours."""

    def __init__(self, cwd: Path, env: Mapping[str, str]) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="ferryman-warm-")
        self._socket = f"{self._directory.name}/socket"
        argv = [sys.executable, "-m", "tests.support.warm", self._socket]
        self._process = subprocess.Popen(
            argv, cwd=cwd, env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        atexit.register(self.stop)

    def stop(self) -> None:
        """End it; what runs, runs on."""
        self._process.communicate(timeout=LIMIT_S)
        self._directory.cleanup()

    def run(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> tuple[int, str, str]:
        """Run a command to its end: exit code, negative for a signal, standard output, standard error."""
        with (
            socket.socket(socket.AF_UNIX) as line,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            self._ask(line, argv, cwd, env, "daemon", [out.fileno(), err.fileno()])
            _number(line)  # its process id
            code = _number(line)
            for file in (out, err):
                file.seek(0)
            return code, out.read().decode(), err.read().decode()

    async def start(self, module: str, argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Started:
        """Start *module* as a program; its errors go where its output goes."""
        out, written = os.pipe()
        line = socket.socket(socket.AF_UNIX)
        try:
            self._ask(line, argv, cwd, env, module, [written, written])
            pid = _number(line)
        finally:
            os.close(written)
        reader = asyncio.StreamReader(limit=2**20)
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(out, "rb"))
        return Started(line, pid, reader)

    def _ask(
        self,
        line: socket.socket,
        argv: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        module: str,
        files: Sequence[int],
    ) -> None:
        """Have a command run. *line* then gives its process id, and when it has ended its exit code."""
        line.settimeout(LIMIT_S)
        line.connect(self._socket)
        request = {"argv": argv, "cwd": str(cwd), "env": dict(env), "module": module}
        socket.send_fds(line, [json.dumps(request).encode()], files)


class Started:
    """A command under way, in a process of its own: as much of `asyncio.subprocess.Process` as tests use."""

    def __init__(self, line: socket.socket, pid: int, stdout: asyncio.StreamReader) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._line = line
        self._line.settimeout(None)
        self._ended = asyncio.ensure_future(asyncio.to_thread(_number, line))
        self._ended.add_done_callback(self._end)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit code, when it has ended; negative for a signal."""
        code = await asyncio.shield(self._ended)
        self.returncode = code
        return code

    def _end(self, ended: asyncio.Future[int]) -> None:
        self._line.close()
        if not ended.cancelled():
            self.returncode = ended.result()


def _number(line: socket.socket) -> int:
    """The next line of *line*, which is a number."""
    said = b""
    while not said.endswith(b"\n"):
        more = line.recv(1)
        if not more:
            raise EOFError("the process to fork from is gone")
        said += more
    return int(said)


def serve(path: str) -> None:
    """Fork for every connection. The fork starts the process that runs the command, and sends its exit code."""
    import daemon.app
    import daemon.cli.run  # noqa: F401 - both are imported for what they import

    assert threading.active_count() == 1
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        while sys.stdin not in (found := select.select([listener, sys.stdin], [], [])[0]):
            assert found
            line, _ = listener.accept()
            if os.fork() == 0:
                keep(line)
                os._exit(0)
            line.close()
            collect()
    collect()


def collect() -> None:
    """Let the processes go that have ended meanwhile."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def keep(line: socket.socket) -> None:
    request, files, _, _ = socket.recv_fds(line, 1 << 16, 2)
    child = os.fork()
    if child == 0:
        line.close()
        os._exit(run(json.loads(request), files))
    for file in files:
        os.close(file)
    line.sendall(b"%d\n" % child)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):  # nobody may wait for it any more
        line.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def run(request: Mapping[str, Any], files: Sequence[int]) -> int:
    """Be the command; the exit code that the interpreter would have ended with."""
    from daemon.cli.main import main

    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), *files)):
        os.dup2(file, number)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as the interpreter opens them
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.argv = ["ferryman", *request["argv"]]
    code: object = 0
    try:
        if request["module"] == "daemon":
            main()
        else:
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    serve(sys.argv[1])
