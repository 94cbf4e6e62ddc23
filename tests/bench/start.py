"""How fast Ferryman starts and what it costs when idle: `python -m tests.bench.start [--json]` (55 s).

- `ferryman run` on a data directory that was used before, from exec to /readyz 200, its own servers' start included;
  and on servers that run already. Bar: 2 s.
- Idle CPU over 20 s, in percent of one core: of the daemon (bar 1 %), and of its servers.
- `ferryman demo` from exec to exit, first and second run on one data directory. Bar: 20 s.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientSession

from tests.bench.rig import ROOT, Figure, main, stores
from tests.support.daemons import free_port

IDLE_S: Final = 20.0
SETTLE_S: Final = 2.0


def environment(data: Path, **settings: str) -> dict[str, str]:
    """Of a daemon with every worker on, and a CGB that is never called."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    ours = {
        "PYTHONPATH": str(ROOT),
        "FERRYMAN_DATA_DIR": str(data),
        "ORDERS_API_KEY": "bench.0123456789abcdef",
        "CGB_API_KEY": "100001.bench",
        "CGB_API_URL": "http://127.0.0.1:9/api",
    }
    return kept | ours | settings


@asynccontextmanager
async def daemon(cwd: Path, env: Mapping[str, str]) -> AsyncIterator[tuple[int, float]]:
    """A `ferryman run`: its process id and the seconds until it was ready."""
    url = f"http://127.0.0.1:{env['FERRYMAN_PORT']}/readyz"
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon", "run", cwd=cwd, env=dict(env), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with ClientSession() as session:
            while not await _is_ready(session, url):
                if process.returncode is not None or time.perf_counter() - began > 30:
                    raise RuntimeError(f"the daemon did not become ready (exit code {process.returncode})")
                await asyncio.sleep(0.01)
        yield process.pid, time.perf_counter() - began
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)


async def _is_ready(session: ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except (ClientError, OSError):
        return False


def cpu_seconds() -> dict[int, tuple[int, float]]:
    """Process id -> its parent and the CPU seconds it has used."""
    if Path("/proc/self/stat").exists():
        found = {}
        tick = os.sysconf("SC_CLK_TCK")
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            found[int(entry.parent.name)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / tick
        return found
    listed = subprocess.run(["ps", "-axo", "pid=,ppid=,time="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    return {int(pid): (int(parent), _seconds(used)) for pid, parent, used in rows}


def _seconds(used: str) -> float:
    """Of `ps`: [[days-]hours:]minutes:seconds."""
    total = 0.0
    for part in used.replace("-", ":").split(":"):
        total = total * 60 + float(part)
    return total


def descendants(of: int, table: Mapping[int, tuple[int, float]]) -> set[int]:
    """Everything that *of* has started, and what that has started."""
    found: set[int] = set()
    added = {of}
    while added:
        added = {pid for pid, (parent, _) in table.items() if parent in added} - found
        found |= added
    return found


async def idle(pid: int) -> tuple[float, float]:
    """Percent of a core: the daemon, its servers."""
    await asyncio.sleep(SETTLE_S)
    before, began = cpu_seconds(), time.perf_counter()
    await asyncio.sleep(IDLE_S)
    after, seconds = cpu_seconds(), time.perf_counter() - began
    servers = sum(after[p][1] - before.get(p, (0, 0.0))[1] for p in descendants(pid, after))
    return 100 * (after[pid][1] - before[pid][1]) / seconds, 100 * servers / seconds


async def demo(cwd: Path, env: Mapping[str, str]) -> float:
    """Seconds of a whole demonstration."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon", "demo", cwd=cwd, env=dict(env), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        code = await asyncio.wait_for(process.wait(), 60)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            await process.wait()
    if code != 0:
        raise RuntimeError(f"the demonstration ended with {code}")
    return time.perf_counter() - began


async def measure() -> list[Figure]:
    figures = []
    with tempfile.TemporaryDirectory(prefix="ferryman-bench-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        home.chmod(0o711)  # postgres run by root is another user
        env = environment(home / "data")
        async with daemon(home, env | {"FERRYMAN_PORT": str(free_port())}) as (_, cold):
            figures.append(Figure("start: first run, data made", cold, "s"))
        warm = []
        for last in (False, False, True):
            async with daemon(home, env | {"FERRYMAN_PORT": str(free_port())}) as (pid, seconds):
                warm.append(seconds)
                if last:
                    ours, servers = await idle(pid)
        figures.append(Figure("start: own servers, warm", min(warm), "s", at_most=2.0))
        async with stores() as addresses:
            there = {
                "REDIS_URL": addresses.redis_url,
                "DATABASE_URL": addresses.database_url,
                "FERRYMAN_ADMIN_TOKEN": "bench-0123456789abcdef0123456789",
                "FERRYMAN_PORT": str(free_port()),
            }
            async with daemon(home, env | there) as (_, seconds):
                figures.append(Figure("start: servers run already", seconds, "s", at_most=2.0))
        figures.append(Figure("idle: daemon", ours, "% of core", at_most=1.0))
        figures.append(Figure("idle: its servers", servers, "% of core"))
        figures.append(Figure("demo: first run", await demo(home, env), "s", at_most=20.0))
        figures.append(Figure("demo: second run", await demo(home, env), "s", at_most=20.0))
    return figures


if __name__ == "__main__":
    main(measure, __doc__)
