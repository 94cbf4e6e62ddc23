"""Demonstrations that go on until they are told to end, each in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio import StreamReader
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

START_S: Final = 150
END_S: Final = 60


class KeptDemo:
    """*lines*: what it has said until it was ready. *out*: once it has ended, the rest of its standard output."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.out = b""


@asynccontextmanager
async def kept_demo(cwd: Path, *options: str, told_on_stderr: bool = False) -> AsyncIterator[KeptDemo]:
    """A demonstration with `--keep`, which ends well by Ctrl-C. *told_on_stderr*: where it says that it is ready."""
    env = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    argv = ["-m", "daemon", "demo", *options, "--keep"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *argv, cwd=cwd, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    demo = KeptDemo()
    try:
        stream = process.stderr if told_on_stderr else process.stdout
        assert stream is not None
        async with asyncio.timeout(START_S):
            await _ready(stream, demo.lines)
        yield demo
        process.send_signal(signal.SIGINT)
        demo.out, err = await asyncio.wait_for(process.communicate(), END_S)
        assert process.returncode == 0, err.decode()[-2000:]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _ready(stream: StreamReader, lines: list[str]) -> None:
    while not (lines and lines[-1].startswith("running until")):
        line = (await stream.readline()).decode()
        assert line, "it has ended"
        lines.append(line.rstrip("\n"))
