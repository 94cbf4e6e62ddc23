"""A restart without a gap: the socket belongs to a service manager, which hands it to one process after the other."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession, ClientTimeout, TCPConnector

from adapters.postgres.pool import Pool
from daemon.sandbox.cgb import CgbSandbox
from tests.support.daemons import API_KEY, environment, free_port, some_orders
from tests.support.until import PATIENCE_S, until

RESTARTS: Final = 3

# what systemd does before it starts the program: descriptor 3, and the names that say so
MANAGER: Final = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid());"
    " os.execv(sys.executable, [sys.executable, '-m', 'daemon', 'run'])"
)


@dataclass
class Posts:
    """What posting to the socket came to."""

    url: str
    answers: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    async def send(self, stop: asyncio.Event, orders: Iterator[dict[str, Any]], *, keep: bool) -> None:
        connector = TCPConnector(force_close=not keep, limit=1)
        async with ClientSession(connector=connector, timeout=ClientTimeout(PATIENCE_S)) as session:
            while not stop.is_set():
                body = json.dumps(next(orders)).encode()
                try:
                    async with session.post(self.url, data=body, headers={"X-API-Key": API_KEY}) as answer:
                        await answer.read()
                        self.answers.append(answer.status)
                except Exception as exc:
                    self.errors.append(repr(exc))
                await asyncio.sleep(0.02)

    async def some_more(self, number: int = 20) -> None:
        wanted = len(self.answers) + number
        await until(lambda: len(self.answers) >= wanted, "further answers")


@asynccontextmanager
async def posting(port: int, clients: int = 4) -> AsyncIterator[Posts]:
    """Post until the context ends. Half of the *clients* keep their connection, half make one for each post."""
    posts, stop, orders = Posts(f"http://127.0.0.1:{port}/webhooks/orders"), asyncio.Event(), iter(some_orders(20_000))
    tasks = [asyncio.create_task(posts.send(stop, orders, keep=n % 2 == 0)) for n in range(clients)]
    try:
        yield posts
    finally:
        stop.set()
        await asyncio.gather(*tasks)


@dataclass
class Manager:
    """Holds the socket, and starts processes that get it."""

    cwd: Path
    settings: dict[str, Any]
    sock: socket.socket
    lines: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.sock.getsockname()[1])

    async def start(self) -> asyncio.subprocess.Process:
        fd = self.sock.fileno()
        env = environment(**{"FERRYMAN_PORT": self.port} | self.settings | {"LISTEN_FDS": 1})
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            MANAGER,
            str(fd),
            cwd=self.cwd,
            env=env,
            pass_fds=(fd,),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self.lines.append(line.decode(errors="replace").rstrip())

    def started(self, times: int) -> bool:
        return sum('"daemon.started"' in line for line in self.lines) == times


@pytest.fixture
def manager(tmp_path: Path, settings: dict[str, Any]) -> Iterator[Manager]:
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as sock:
        yield Manager(tmp_path, settings | {"ORDERS_API_KEY": API_KEY, "CGB_SYNC_DELAY_MS": 0}, sock)


async def test_no_post_is_refused_and_none_is_lost_over_restarts(manager: Manager, cgb: CgbSandbox, db: Pool) -> None:
    reading: list[asyncio.Task[None]] = []
    process = None
    try:
        async with posting(manager.port) as posts:
            for turn in range(1, RESTARTS + 2):
                # the first posts wait in the kernel's queue, and so do those of each restart
                process = await manager.start()
                reading.append(asyncio.create_task(manager.read(process)))
                await until(partial(manager.started, turn), "a process that has started")
                await posts.some_more()
                if turn > RESTARTS:
                    break
                cgb.faults.add("hang", seconds=1.5, times=5)
                await posts.some_more()
                before = len(posts.answers)
                process.terminate()
                assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
                assert len(posts.answers) > before, "it accepts while it finishes what it has in hand"
        assert (set(posts.answers), posts.errors) == ({202}, [])

        async def journaled() -> int:
            return int(await db.fetchval("SELECT count(*) FROM event_journal WHERE type = 'order.received'"))

        async def all_journaled() -> bool:
            return await journaled() >= len(posts.answers)

        await until(all_journaled, "every order in the journal")
        assert await journaled() == len(posts.answers)
    finally:
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
        await asyncio.gather(*reading)


async def test_a_socket_at_another_port_than_the_settings_name_is_refused_with_one_line(manager: Manager) -> None:
    other = free_port()
    manager.settings |= {"FERRYMAN_PORT": other}
    process = await manager.start()
    out, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 1
    (line,) = [line for line in out.decode().splitlines() if "handed over" in line]
    assert f"a socket at {manager.port} was handed over, and FERRYMAN_PORT is {other}" in line
    assert "ListenStream=" in line
