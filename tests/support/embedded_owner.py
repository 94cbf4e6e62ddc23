"""What the tests of the embedded servers share: an owner that can be killed, and what to write and read."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
from redis.asyncio import Redis

from daemon.stores.embedded.processes import Account
from tests.support.until import until

REPOSITORY: Final = Path(__file__).parents[2]
ORDINARY: Final = Account(1000, 1000)

OWNER: Final = """
import asyncio, json, sys
from pathlib import Path
from daemon.stores.embedded.servers import EmbeddedError, embedded

async def main():
    try:
        async with embedded(Path(sys.argv[1])) as servers:
            pids = [servers.valkey.pid, servers.postgres.pid]
            print(json.dumps([servers.redis_url, servers.database_url, pids]), flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    except EmbeddedError as exc:
        sys.exit(str(exc))

asyncio.run(main())
"""


class Owner:
    """A process of its own that holds the servers until its standard input ends."""

    def __init__(self, data_dir: Path, *, path: str | None = None, user: Account | None = None) -> None:
        switch: dict[str, Any] = {}
        if user is not None:
            switch = {"user": user.uid, "group": user.gid, "extra_groups": []}
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)} | ({} if path is None else {"PATH": path}),
            **switch,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the owner ended with {self.process.wait()}"
        self.redis_url, self.database_url, self.pids = json.loads(line)

    def end(self, *, kill: bool) -> None:
        if kill:
            self.process.kill()
        if self.process.returncode is None:
            self.process.communicate(timeout=30)


async def write(redis_url: str | None, database_url: str | None, count: int = 20) -> None:
    async with client(redis_url) as redis:
        for number in range(count):
            await redis.xadd("kept", {"n": number})
    conn = await asyncpg.connect(database_url)
    await conn.execute("CREATE TABLE kept AS SELECT generate_series(1, $1::int) AS n", count)
    await conn.close()


async def kept(redis_url: str | None, database_url: str | None) -> tuple[int, int]:
    async with client(redis_url) as redis:
        entries = await redis.xlen("kept")
    conn = await asyncpg.connect(database_url)
    rows = await conn.fetchval("SELECT count(*) FROM kept")
    await conn.close()
    return entries, rows


def client(url: str | None) -> Redis:
    assert url is not None
    redis: Redis = Redis.from_url(url, decode_responses=True, legacy_responses=False)
    return redis


async def gone(pids: Sequence[int]) -> None:
    """Wait until none of *pids* runs any more."""
    await until(lambda: not any(runs(pid) for pid in pids), f"the end of {pids}")


def processes() -> dict[int, str]:
    """The command line of every process that is not just waiting to be collected."""
    found: dict[int, str] = {}
    if not Path("/proc/self/cmdline").exists():
        listed = subprocess.run(["ps", "-axo", "pid=,stat=,command="], capture_output=True, text=True, check=True)
        for line in listed.stdout.splitlines():
            pid, state, command = line.split(maxsplit=2)
            if not state.startswith("Z"):
                found[int(pid)] = command
        return found
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile; the command line of a dead one is empty
            if command := entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                found[int(entry.parent.name)] = command
    return found


def runs(pid: int) -> bool:
    return pid in processes()


def one_line(error: BaseException) -> str:
    assert len(str(error).splitlines()) == 1
    return str(error)
