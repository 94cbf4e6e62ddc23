"""Runs commands of ours, each in a process of its own that is forked from one with the libraries imported already.

A verb spends most of its time on importing them, and tests run a hundred verbs. What is a verb's own, it imports
itself. `python -m tests.support.warm SOCKET` serves until its standard input ends.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
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
        request = json.dumps({"argv": argv, "cwd": str(cwd), "env": dict(env)}).encode()
        with (
            socket.socket(socket.AF_UNIX) as line,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            line.settimeout(LIMIT_S)
            line.connect(self._socket)
            socket.send_fds(line, [request], [out.fileno(), err.fileno()])
            code = int(line.recv(16))
            for file in (out, err):
                file.seek(0)
            return code, out.read().decode(), err.read().decode()


def serve(path: str) -> None:
    """Fork for every connection. The fork starts the process that runs the command, and sends its exit code."""
    import daemon.app  # noqa: F401 - imported for what it imports

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
        os._exit(run(json.loads(request), files))
    _, status = os.waitpid(child, 0)
    line.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def run(request: Mapping[str, Any], files: Sequence[int]) -> int:
    """Be the command; the exit code that the interpreter would have ended with."""
    from daemon.cli.main import main

    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), *files)):
        os.dup2(file, number)
    sys.argv = ["ferryman", *request["argv"]]
    code: object = 0
    try:
        main()
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
