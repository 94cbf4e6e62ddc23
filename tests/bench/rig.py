"""What the benchmarks share: figures with their bars, servers of their own, cores, and helpers in other processes."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import uvloop

from adapters.postgres.migrate import migrate
from daemon.stores.embedded.servers import embedded
from daemon.telemetry import logs

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. *bar*: what it has to keep, or None where it is only told."""

    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def kept(self) -> bool:
        """Whether it keeps its bar."""
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def line(self) -> str:
        """For a person."""
        text = f"{self.name:<44} {self.value:>10,.2f} {self.unit:<11}"
        for word, bar in ((">=", self.at_least), ("<=", self.at_most)):
            if bar is not None:
                text += f" bar {word} {bar:g}: {'kept' if self.kept else 'MISSED'}"
        return f"{text} {self.note}".rstrip()


def main(measure: Callable[[], Coroutine[Any, Any, Sequence[Figure]]], doc: str | None) -> None:
    """Run *measure*, print its figures, exit with 1 where a bar is missed. Ctrl-C cleans up, too."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object per figure")
    as_json = parser.parse_args().json
    with open(os.devnull, "wb", buffering=0) as nowhere:
        logs.configure("info", stream=nowhere)  # the lines are made and written, as in production
        try:
            figures = uvloop.run(measure())
        except KeyboardInterrupt:
            sys.exit(130)
    for figure in figures:
        if as_json:
            bars = {"at_least": figure.at_least, "at_most": figure.at_most}
            shown = {"name": figure.name, "value": figure.value, "unit": figure.unit, "kept": figure.kept}
            print(json.dumps(shown | {k: bar for k, bar in bars.items() if bar is not None}))
        else:
            print(figure.line())
    sys.exit(not all(figure.kept for figure in figures))


class Cores:
    """The core that is measured, and the others, where the system can tell them apart."""

    def __init__(self) -> None:
        self._all = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set[int]()

    def helpers(self) -> None:
        """This process, and what it starts from now on, keeps off the measured core."""
        self._set(sorted(self._all)[1:])

    def measured(self) -> None:
        """This process has the measured core for itself."""
        self._set(sorted(self._all)[:1])

    def _set(self, cores: Sequence[int]) -> None:
        if len(self._all) > 1:
            os.sched_setaffinity(0, cores)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Of embedded servers that sync every write, with the schema in place."""

    redis_url: str
    database_url: str


@asynccontextmanager
async def stores() -> AsyncIterator[Addresses]:
    """Servers on a temporary directory, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ferryman-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)  # postgres run by root is another user
        async with embedded(Path(name) / "data") as servers:
            assert servers.redis_url is not None
            assert servers.database_url is not None
            connection = await asyncpg.connect(servers.database_url)
            await migrate(connection)
            await connection.close()
            yield Addresses(servers.redis_url, servers.database_url)


class Helper:
    """Another process of ours that answers one JSON object per line with another one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, **question: Any) -> dict[str, Any]:
        """The answer to *question*."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await self._process.stdout.readline() or b'{"error": "the helper ended"}')
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


@asynccontextmanager
async def helper(module: str, *argv: str) -> AsyncIterator[Helper]:
    """Run *module* in a process that ends with its standard input."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *argv,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
        start_new_session=True,  # Ctrl-C is ours to act on
    )
    try:
        yield Helper(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()


async def obey(answer: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> None:
    """The helper's side: answer until standard input ends."""
    reader = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(await answer(json.loads(line))), flush=True)


@dataclass(frozen=True, slots=True)
class Took:
    """What a piece of work took: seconds of the clock, and of this process's CPU."""

    seconds: float
    cpu: float


@asynccontextmanager
async def clocked(into: list[Took]) -> AsyncIterator[None]:
    """Appends to *into* what its body took."""
    _unless_cancelled()
    began, cpu = time.perf_counter(), time.process_time()
    yield
    _unless_cancelled()
    into.append(Took(time.perf_counter() - began, time.process_time() - cpu))


def _unless_cancelled() -> None:
    """Ctrl-C again: `asyncio.wait_for` of Python 3.11, which the Redis client sends by, can swallow a cancellation."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
