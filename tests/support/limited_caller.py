"""A process that calls the rate limiter: `python -m tests.support.limited_caller REDIS_URL SETTINGS`.

Each line of its standard input is one call: {"scope", "name", "priority"}. It answers {"name"} when the limiter knows
the call, and {"name", "at"} when the call has its place; *at* is the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from redis.asyncio import Redis

from adapters.redis import client as redis_client
from adapters.redis import limits
from adapters.redis.limit_scripts import key
from adapters.redis.limits import RateLimiter, Ticket
from tests.bench.rig import ROOT


class Caller:
    """The parent's side of one such process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.served: dict[str, float] = {}
        self._known: dict[str, asyncio.Event] = {}
        self._reading = asyncio.create_task(self._read())

    async def call(self, scope: str, name: str, priority: str = "live") -> None:
        """Let it call, and return when the limiter knows the call."""
        self._known[name] = asyncio.Event()
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"scope": scope, "name": name, "priority": priority}).encode() + b"\n")
        await asyncio.wait_for(self._known[name].wait(), 20)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            said = json.loads(line)
            if "at" in said:
                self.served[said["name"]] = said["at"]
            self._known[said["name"]].set()

    async def kill(self) -> None:
        """SIGKILL."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading


@asynccontextmanager
async def caller(redis_url: str, **settings: Any) -> AsyncIterator[Caller]:
    """Such a process. *settings*: per_minute, window_s, and look_s, silent_s, clock_ahead_s where they are wanted."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.limited_caller", redis_url, json.dumps(settings)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    made = Caller(process)
    try:
        yield made
    finally:
        await made.kill()


def out_of_order(names: Sequence[str], at: dict[str, float]) -> list[str]:
    """Those that were served clearly before one that came earlier: a machine under load wakes a process late."""
    late_s = 0.3
    return [name for n, name in enumerate(names) if any(at[name] + late_s < at[before] for before in names[:n])]


def most_in_a_window(times: Sequence[float], window_s: float) -> int:
    ordered = sorted(times)
    return max(sum(first <= at < first + window_s for at in ordered) for first in ordered)


@asynccontextmanager
async def places(redis: Redis, scope: str) -> AsyncIterator[list[float]]:
    """The places of *scope* that the server gives meanwhile, in seconds of its own clock."""
    seen: dict[bytes, float] = {}
    given: list[float] = []

    async def look() -> None:
        answer: list[tuple[bytes, float]] = await redis.zrange(key("taken", scope), 0, -1, withscores=True)  # type: ignore[assignment]
        for name, at in answer:
            seen.setdefault(name, at / 1_000_000)

    async def watch() -> None:
        while True:
            await look()
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    try:
        yield given
    finally:
        watching.cancel()
        await look()
        given += seen.values()


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def _call(limiter: RateLimiter, scope: str, name: str, priority: limits.Priority) -> None:
    ticket: Ticket | None = await limiter.take(scope, priority=priority)
    at = time.monotonic()
    _say(name=name)
    while ticket is not None:
        await ticket.called
        ticket = await limiter.take(scope, ticket, priority)
        at = time.monotonic()
    _say(name=name, at=at)


async def _obey(redis_url: str, settings: dict[str, Any]) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    limits.LOOK_S = settings.get("look_s", limits.LOOK_S)  # type: ignore[misc]
    ahead_s = settings.get("clock_ahead_s", 0.0)
    limiter = RateLimiter(
        redis_client.client(redis_url, timeout_s=5),
        per_minute=settings["per_minute"],
        window_s=settings["window_s"],
        silent_s=settings.get("silent_s", limits.SILENT_S),
        clock=lambda: time.monotonic() + ahead_s,
    )
    reader = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with asyncio.TaskGroup() as calls:
        while line := await reader.readline():
            calls.create_task(_call(limiter, **json.loads(line)))


if __name__ == "__main__":
    asyncio.run(_obey(sys.argv[1], json.loads(sys.argv[2])))
