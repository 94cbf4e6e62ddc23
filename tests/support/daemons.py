"""Real processes of Ferryman, the orders that tests send to them, and waits for what becomes of these."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientError, ClientSession
from pydantic import SecretStr

from adapters.postgres.pool import Pool
from daemon.rules.files import SHIPPED
from daemon.sandbox import orders
from daemon.settings.model import Settings
from daemon.workers import WORKERS
from tests.support.until import PATIENCE_S, until
from tests.support.warm import Started, Warm

ROOT: Final = Path(__file__).resolve().parents[2]
API_KEY: Final = "vizi_e2e.0123456789abcdef"
RUNNING: Final = [
    worker for worker in WORKERS if (worker.idle(SHIPPED) or worker.off(Settings(cgb_api_key=SecretStr("k")))) is None
]
"""The workers that a process runs by the rules that ship, where of the outside systems CGB alone is set."""


def free_port() -> int:
    """A port that no program listens on, below those that the system gives to outgoing connections: there it could be
    taken between this look and its use."""
    while True:
        port = _anywhere.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


_anywhere: Final = random.SystemRandom()


def children(parent: int, program: str) -> list[int]:
    """The processes of *program* that *parent* has started (its direct children)."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,comm=", "--ppid", str(parent)], capture_output=True, text=True, check=True
    )
    found = [line.split(None, 1) for line in listed.stdout.splitlines()]
    return [int(pid) for pid, name in found if name.strip() == program]


def environment(**settings: object) -> dict[str, str]:
    """The environment of a process of ours: this interpreter's, none of this machine's settings, and *settings*."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT)} | {name: str(value) for name, value in settings.items()}


async def ferryman(*argv: str, cwd: Path, env: Mapping[str, str]) -> tuple[int, str, str]:
    """Run a command to its end: exit code, standard output, standard error. `run` is started as an operator does it,
    an interpreter of its own included; verbs, whose promises are not about that, are forked (tests.support.warm)."""
    if argv[0] != "run":
        return await asyncio.to_thread(_warm().run, argv, cwd, env)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "daemon",
        *argv,
        cwd=cwd,
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@cache
def _warm() -> Warm:
    return Warm(ROOT, environment())


@dataclass
class Running:
    """A `ferryman run`."""

    process: Started
    url: str
    health_url: str
    session: ClientSession
    lines: list[str] = field(default_factory=list)

    async def ready(self) -> dict[str, Any]:
        """The document of /readyz; {} while the process does not answer."""
        try:
            async with self.session.get(f"{self.health_url}/readyz") as answer:
                document: dict[str, Any] = await answer.json()
                return document
        except (ClientError, OSError):
            return {}

    async def post(self, order: Mapping[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
        """Send an order with the shared key."""
        body = json.dumps(order).encode()
        proof = headers or {"X-API-Key": API_KEY}
        async with self.session.post(f"{self.url}/webhooks/orders", data=body, headers=proof) as answer:
            return answer.status, await answer.json(content_type=None)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the process and wait for its end."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)


@asynccontextmanager
async def running(cwd: Path, *, module: str = "daemon", **settings: object) -> AsyncIterator[Running]:
    """A `ferryman run` that is ready; ended with the context, also when a test fails.

    *module*: what stands for the program.
    """
    async with answering(cwd, module=module, **settings) as here:

        async def ready() -> bool:
            assert here.process.returncode is None, "\n".join(here.lines[-20:])
            return bool((await here.ready()).get("ready"))

        await until(ready, "a process that is ready")
        yield here


@asynccontextmanager
async def answering(cwd: Path, *, module: str = "daemon", **settings: object) -> AsyncIterator[Running]:
    """As `running`, but it is enough that the process answers, ready or not."""
    port = settings.get("FERRYMAN_PORT") or free_port()
    env = environment(**{"FERRYMAN_PORT": port, "ORDERS_API_KEY": API_KEY, "CGB_SYNC_DELAY_MS": 0} | settings)
    process = await _warm().start(module, ["run"], cwd, env)
    async with ClientSession() as session:
        health = settings.get("FERRYMAN_HEALTH_PORT", port)
        here = Running(process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{health}", session)
        reading = asyncio.create_task(_read(process, here.lines))
        try:

            async def up() -> bool:
                assert process.returncode is None, "\n".join(here.lines[-20:])
                return bool(await here.ready())

            await until(up, "a process that answers")
            yield here
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await reading


async def _read(process: Started, lines: list[str]) -> None:
    while line := await process.stdout.readline():
        lines.append(line.decode(errors="replace").rstrip())


def some_orders(count: int, seed: int = 7) -> list[dict[str, Any]]:
    """Orders of *count* different people."""
    rng = random.Random(seed)
    return [orders.make_order(rng, n, branch="il") for n in range(count)]


def digits_of(order: Mapping[str, Any]) -> str:
    phone = order["form"]["client"]["phone"]
    return str(phone["code"]) + str(phone["number"]).lstrip("0")


async def ended(db: Pool, count: int) -> None:
    """Wait until both workers have ended with *count* events."""

    async def all_ended() -> bool:
        rows = await db.fetch("SELECT worker, count(*) AS n FROM inbox GROUP BY worker")
        counts = {row["worker"]: row["n"] for row in rows}
        return all(counts.get(worker, 0) >= count for worker in ("contact-sync", "journal"))

    await until(all_ended, f"the end of {count} events")


async def synced(db: Pool, count: int, within_s: float = PATIENCE_S) -> None:
    """Wait until *count* orders are synced."""

    async def all_synced() -> bool:
        found = await db.fetchval("SELECT count(*) FROM orders WHERE cgb_sync_status = 'synced'")
        return int(found) >= count

    await until(all_synced, f"{count} synced orders", within_s)
