"""The lab of the chaos tests and commands: stores, a simulated CGB, real processes and loads on them."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from adapters.postgres import pool as pools
from adapters.postgres.pool import Pool
from daemon.sandbox.cgb import TOKEN
from daemon.stores.embedded.servers import Servers
from tests.chaos.cgb_recorder import Recorder
from tests.chaos.fleet import Fleet
from tests.chaos.load import Accepted, Load
from tests.chaos.oracle import Oracle, Verdict
from tests.support.daemons import environment, ferryman
from tests.support.servers import ensure_running, forgiving, migrated_database, own_servers
from tests.support.until import until

TTL_S: Final = 2


class Lab:
    """A database, an empty Valkey, a simulated CGB and processes on them."""

    def __init__(self, servers: Servers, db: Pool, redis: Redis, cgb: Recorder, fleet: Fleet, cwd: Path) -> None:
        self.servers = servers
        self.db = db
        self.redis = redis
        self.cgb = cgb
        self.fleet = fleet
        self._cwd = cwd
        self.loads: list[Load] = []
        self.buried: set[str] = set()
        """Order ids that may be dead letters, and must be."""

    def load(self, seed: int, people: int, each: int, *, first_person: int = 0) -> Load:
        """A load whose orders the oracle will ask for."""
        made = Load(self.fleet, seed, people, each, first_person=first_person)
        self.loads.append(made)
        return made

    @property
    def accepted(self) -> list[Accepted]:
        """Everything that was answered 202, in the order of the answers."""
        return [order for load in self.loads for order in load.accepted]

    async def ended(self) -> int:
        """How many events contact-sync has ended with."""
        return int(await self.db.fetchval("SELECT count(*) FROM inbox WHERE worker = 'contact-sync'"))

    async def settled(self, within_s: float = 60.0) -> None:
        """Wait until everything accepted has ended in both workers, and what it emitted is journaled."""
        wanted = len(self.accepted)
        emitted = wanted - len(self.buried)
        try:
            await until(forgiving(lambda: self._all_ended(wanted, emitted)), "the end of everything", within_s)
        except TimeoutError:
            print(f"after {within_s:.0f} s not all of {wanted} have ended: {await self._progress()}")

    async def _all_ended(self, wanted: int, emitted: int) -> bool:
        counts = await self._progress()
        return (
            counts["contact-sync"] >= wanted
            and counts["journal"] >= wanted + emitted
            and counts["outbox"] == 0
            and counts["spool"] == 0
        )

    async def _progress(self) -> dict[str, int]:
        rows = await self.db.fetch("SELECT worker, count(*) AS n FROM inbox GROUP BY worker")
        counts = {"contact-sync": 0, "journal": 0} | {row["worker"]: row["n"] for row in rows}
        for table in ("outbox", "spool"):
            counts[table] = await self.db.fetchval(f"SELECT count(*) FROM {table}")
        return counts

    async def verdict(self, within_s: float = 60.0) -> Verdict:
        """Wait for the end of everything, then ask the oracle and the audit what became of it."""
        await self.settled(within_s)
        found = await Oracle(self.db, self.cgb, self.accepted, self.buried).verdict()
        code, out, err = await ferryman("audit", "--json", cwd=self._cwd, env=environment(**self.fleet.settings))
        found.audit = out or err
        found.balanced = code == 0 and bool(json.loads(out)["balanced"])
        return found


@asynccontextmanager
async def open_lab(servers: Servers, *, latency_s: float = 0.003, **settings: object) -> AsyncIterator[Lab]:
    """A lab on *servers*, both running; every process of it is ended with the context."""
    assert servers.redis_url is not None
    assert servers.database_url is not None
    await ensure_running(servers.valkey, servers.postgres)
    async with AsyncExitStack() as stack:
        cwd = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ferryman-lab-")))
        database_url = await stack.enter_async_context(migrated_database(servers.database_url))
        stack.push_async_callback(ensure_running, servers.postgres)
        cgb = await stack.enter_async_context(Recorder())
        if latency_s:
            cgb.faults.add("slow", seconds=latency_s)
        stores = {"REDIS_URL": servers.redis_url, "DATABASE_URL": database_url}
        given = {
            "FERRYMAN_ADMIN_TOKEN": "chaos-admin-token",
            "FERRYMAN_LEASE_SECONDS": TTL_S,
            "CGB_API_URL": cgb.url,
            "CGB_API_KEY": TOKEN,
            "CGB_RATE_PER_MINUTE": 1_000_000,
            "CGB_TIMEOUT": 3000,
            "CGB_SYNC_DELAY_MS": 0,
            "CGB_SYNC_CONCURRENCY": 20,
        }
        redis: Redis = Redis.from_url(servers.redis_url, legacy_responses=False, retry=Retry(NoBackoff(), 0))
        stack.push_async_callback(redis.aclose)
        await redis.flushall()
        db = await stack.enter_async_context(pools.connect(database_url, size=3, name="chaos"))
        fleet = Fleet(cwd, given | stores | settings)
        stack.push_async_callback(fleet.close)
        yield Lab(servers, db, redis, cgb, fleet, cwd)


def command(main: Callable[[Servers], Coroutine[Any, Any, bool]]) -> int:
    """Run *main* on servers of its own; the exit code is 0 when it returns True."""
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)  # its pool logs at length while a server is away
    with own_servers() as servers, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return 0 if runner.run(main(servers)) else 1
