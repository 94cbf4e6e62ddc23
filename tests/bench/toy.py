"""The daemon with a worker that has little to do: `python -m tests.bench.toy run`, with the journal beside it unless
BENCH_ALONE is set.

Its handler waits BENCH_NAP_MS milliseconds, BENCH_LANES of them at once; a row says by which process and when each
event ended. The benches of real processes start them from here.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from aiohttp import ClientError, ClientSession

from adapters.postgres.pool import Connection, Pool
from adapters.redis.lease_table import Pair
from adapters.redis.streams import stream_key
from daemon import app
from daemon.bus import journal
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.worker import AnyWorker, Worker
from daemon.cli.main import main
from schemas.envelope import Event, event_id
from schemas.partitions import partition_of
from tests.bench.rig import Addresses
from tests.support.daemons import environment, free_port
from tests.support.until import until

NAME: Final = "toy"
TYPE: Final = "order.received"
PARTITIONS: Final = 16
KEYS: Final = [stream_key("orders", p) for p in range(PARTITIONS)]
PAIRS: Final = [(worker, p) for worker in (journal.WORKER.name, NAME) for p in range(PARTITIONS)]

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS bench_ends (event_id text, partition int, pid int,"
    " at timestamptz DEFAULT clock_timestamp())"
)
_RECORD: Final = "INSERT INTO bench_ends (event_id, partition, pid) SELECT *, $3 FROM unnest($1::text[], $2::int[])"


async def make_table(pool: Pool) -> None:
    """What the worker writes its ends to."""
    await pool.execute(_TABLE)


async def record(conn: Connection, rows: Sequence[Row]) -> None:
    """Say which process ended with which event, and when."""
    events = cast("Sequence[Event]", rows)
    partitions = [partition_of(event.subject, PARTITIONS) for event in events]
    await conn.execute(_RECORD, [event.id for event in events], partitions, os.getpid())


def worker(nap_s: float = 0.0, lanes: int = 50) -> AnyWorker:
    """The worker."""

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        if nap_s:
            await asyncio.sleep(nap_s)
        return Done(rows=(event,))

    types = frozenset({TYPE})
    return Worker(name=NAME, reads=("orders",), types=types, handle=handle, record=record, lanes=lambda settings: lanes)


def events(run: str, count: int, size: int = 600) -> Iterator[Event]:
    """*count* events of about *size* bytes that are new, each of a key of its own. *run* tells them from
    others."""
    now, text = datetime.now(UTC), "x" * max(0, size - 40)
    for n in range(count):
        yield Event(
            id=event_id("bench", run, str(n)),
            type=TYPE,
            source="bench",
            subject=f"key-{run}-{n}",
            time=now,
            data=json.dumps({"n": n, "text": text}).encode(),
        )


@dataclass
class Process:
    """A running daemon with the toy worker."""

    process: asyncio.subprocess.Process
    url: str
    session: ClientSession

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    async def leases(self) -> set[Pair]:
        """What it holds; nothing while it is not ready."""
        try:
            async with self.session.get(f"{self.url}/readyz") as answer:
                document: dict[str, Any] = await answer.json()
        except (ClientError, OSError):
            return set()
        return {(worker, p) for worker, held in document["leases"].items() for p in held}

    async def partitions(self) -> set[int]:
        """Of what it holds, the partitions of the toy worker."""
        return {p for worker, p in await self.leases() if worker == NAME}

    async def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(how)
        return await asyncio.wait_for(self.process.wait(), 30)


@asynccontextmanager
async def process(cwd: Path, addresses: Addresses, **settings: object) -> AsyncIterator[Process]:
    """A daemon that holds partitions; killed with the context if it still runs."""
    port = free_port()
    given: dict[str, object] = {
        "REDIS_URL": addresses.redis_url,
        "DATABASE_URL": addresses.database_url,
        "FERRYMAN_ADMIN_TOKEN": "bench-0123456789abcdef0123456789",
        "FERRYMAN_PORT": port,
        "FERRYMAN_DATA_DIR": cwd / "data",
    }
    nothing = asyncio.subprocess.DEVNULL
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, "run", cwd=cwd, env=environment(**given | settings), stdin=nothing,
        stdout=nothing, start_new_session=True,  # Ctrl-C is ours to act on
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(ClientSession())
        here = Process(started, f"http://127.0.0.1:{port}", session)
        stack.push_async_callback(here.end, signal.SIGKILL)

        async def holds_some() -> bool:
            if started.returncode is not None:
                raise RuntimeError(f"the daemon ended with {started.returncode}")
            return bool(await here.leases())

        await until(holds_some, "a process that holds partitions")
        yield here


async def shared(processes: Sequence[Process]) -> list[int]:
    """Wait until *processes* hold everything between them, each its share; returns how many partitions of the toy
    worker each has."""

    async def settled() -> bool:
        held = [await one.leases() for one in processes]
        counts = [len(one) for one in held]
        return sum(counts) == len(set.union(*held)) == len(PAIRS) and max(counts) - min(counts) <= 1

    await until(settled, "partitions that are shared out")
    return [len(await one.partitions()) for one in processes]


if __name__ == "__main__":
    toy = worker(float(os.environ.get("BENCH_NAP_MS", "0")) / 1000, int(os.environ.get("BENCH_LANES", "50")))
    known = (toy,) if os.environ.get("BENCH_ALONE") else (journal.WORKER, toy)
    setattr(app, "WORKERS", known)  # noqa: B010 - not its to export
    main()
