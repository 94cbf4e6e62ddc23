"""Stores that die, freeze, lose data or answer in vain, under load on two real processes.

python -m tests.chaos.outages --seed 1 --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
from aiohttp import ClientSession, ClientTimeout

from adapters.redis.streams import stream_key
from daemon.stores.embedded.servers import Server, Servers
from tests.chaos.lab import Lab, command, open_lab
from tests.chaos.load import Load, make_order, sending
from tests.chaos.oracle import Verdict
from tests.support.daemons import API_KEY
from tests.support.proxy import Proxy, proxied
from tests.support.servers import forgiving, frozen
from tests.support.until import until

CUT_BYTES: Final = 50_000
LOSS: Final = 0.05
PEOPLE: Final = 40
EACH: Final = 8


@dataclass
class Scene:
    """Two processes under a load that is released in parts. *refused*: orders of which no table may have a trace."""

    lab: Lab
    load: Load
    proxy: Proxy
    rng: random.Random
    seed: int
    refused: set[str] = field(default_factory=set)

    @property
    def valkey(self) -> Server:
        """The Valkey of the scene."""
        assert self.lab.servers.valkey is not None
        return self.lab.servers.valkey

    @property
    def postgres(self) -> Server:
        """The Postgres of the scene."""
        assert self.lab.servers.postgres is not None
        return self.lab.servers.postgres

    async def advance(self, part: float) -> None:
        """Release this part of the load, and wait until half of it is accepted and something has ended."""
        before, ended = len(self.load.accepted), await self.lab.ended()
        count = int(part * self.load.total)
        self.load.release(count)

        async def under_way() -> bool:
            return len(self.load.accepted) >= before + count // 2 and await self.lab.ended() > ended

        await until(forgiving(under_way), f"{count} more orders under way")

    async def accept_until(self, count: int, due: float) -> None:
        """Orders are accepted although a store is away; returns at *due*, the end of the outage."""
        before = len(self.load.accepted)
        self.load.release(count)

        async def taken() -> bool:
            return len(self.load.accepted) >= before + count // 2

        await until(taken, "orders accepted in an outage")
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def valkey_killed(here: Scene, seconds: float) -> None:
    """kill -9 of Valkey under load, twice; orders are accepted meanwhile."""
    for _ in range(2):
        await here.advance(0.3)
        here.valkey.kill()
        await here.accept_until(20, time.monotonic() + seconds / 4)
        await here.valkey.start()


async def valkey_cut(here: Scene, seconds: float) -> None:
    """kill -9 of Valkey, and 50 KB of the end of its file are gone, as after a power loss; the daemons live on."""
    await here.advance(0.5)
    home = Path(str((await here.lab.redis.config_get("dir"))["dir"]))
    here.valkey.kill()
    _cut_tail(_append_only_file(home), CUT_BYTES)
    await here.valkey.start()
    await here.advance(0.2)

    async def noticed() -> bool:
        return here.lab.fleet.said("redis.lost_data") > 0

    await until(noticed, "a loss that is noticed", 10)


def _append_only_file(home: Path) -> Path:
    """The part of the append-only file that grows, of the Valkey whose data are in *home*."""
    return max((home / "appendonlydir").glob("*.incr.aof"), key=lambda file: file.stat().st_mtime)


def _cut_tail(file: Path, count: int) -> None:
    size = file.stat().st_size
    assert size > count, f"only {size} bytes there"
    os.truncate(file, size - count)


async def valkey_flushed(here: Scene, seconds: float) -> None:
    """FLUSHALL under load, twice: what was accepted and not done is in no stream any more."""
    for times in (1, 2):
        await here.advance(0.3)
        await here.lab.redis.flushall()
        await here.accept_until(20, time.monotonic() + seconds)

        async def noticed(times: int = times) -> bool:
            return here.lab.fleet.said("redis.lost_data") >= times

        await until(noticed, "a loss that is noticed", 20)


async def groups_destroyed(here: Scene, seconds: float) -> None:
    """XGROUP DESTROY of every group of orders under load, twice."""
    for _ in range(2):
        await here.advance(0.3)
        pipe = here.lab.redis.pipeline(transaction=False)
        for partition in range(16):
            for group in ("contact-sync", "journal"):
                pipe.xgroup_destroy(stream_key("orders", partition), group)
        assert any(await pipe.execute())
        await here.accept_until(20, time.monotonic() + seconds)


async def valkey_frozen(here: Scene, seconds: float) -> None:
    """Valkey is frozen (SIGSTOP); orders are accepted meanwhile."""
    await here.advance(0.4)
    with frozen(here.valkey):
        await here.accept_until(20, time.monotonic() + seconds)


async def replies_lost(here: Scene, seconds: float) -> None:
    """A proxy before Valkey swallows 5 % of the answers and closes the connection."""
    here.proxy.loss = LOSS
    await here.advance(0.6)
    give_up = time.monotonic() + seconds

    async def some_lost() -> bool:
        return here.proxy.lost >= 30 or time.monotonic() > give_up

    await until(some_lost, "lost answers", seconds + 30)
    await here.advance(0.2)
    here.load.release()
    await here.lab.settled(seconds + 30)  # with the losses going on
    assert here.proxy.lost >= 10, f"only {here.proxy.lost} answers were lost"
    here.proxy.loss = 0.0


async def postgres_stopped(here: Scene, seconds: float) -> None:
    """Postgres is stopped; orders are accepted meanwhile."""
    await here.advance(0.4)
    due = time.monotonic() + seconds
    await here.postgres.stop()
    await here.accept_until(60, due)
    await here.postgres.start()


async def postgres_frozen(here: Scene, seconds: float) -> None:
    """Postgres is frozen (SIGSTOP); orders are accepted meanwhile."""
    await here.advance(0.4)
    with frozen(here.postgres):
        await here.accept_until(60, time.monotonic() + seconds)


async def backends_terminated(here: Scene, seconds: float) -> None:
    """Every connection of the daemons to Postgres is ended each half second."""
    assert here.lab.servers.database_url is not None
    conn = await asyncpg.connect(here.lab.servers.database_url)
    ended, due = 0, time.monotonic() + seconds
    try:
        while time.monotonic() < due:
            here.load.release(here.load.total // 12)
            ended += await conn.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'ferryman'"
            )
            await asyncio.sleep(0.5)  # the rhythm of the disturbance
    finally:
        await conn.close()
    assert ended >= 4, f"only {ended} connections were ended"


async def both_down(here: Scene, seconds: float) -> None:
    """Both stores are killed: 503 with Retry-After, and nothing of what was refused is kept."""
    await here.advance(0.4)
    due = time.monotonic() + seconds
    here.valkey.kill()
    here.postgres.kill()
    async with ClientSession(timeout=ClientTimeout(total=20)) as session:
        for number in range(10):
            order = make_order(here.seed, 900 + number, 0)
            here.refused.add(order["order"]["id"])
            url = f"{here.rng.choice(here.lab.fleet.urls())}/webhooks/orders"
            async with session.post(url, json=order, headers={"X-API-Key": API_KEY}) as answer:
                assert answer.status == 503, f"{answer.status} without any store"
                assert int(answer.headers["Retry-After"]) > 0
    here.load.release(40)
    await asyncio.sleep(max(0.0, due - time.monotonic()))  # the rest of the outage
    await asyncio.gather(here.valkey.start(), here.postgres.start())


Outage = Callable[[Scene, float], Awaitable[None]]

OUTAGES: Final[dict[str, tuple[Outage, float]]] = {
    "valkey-killed": (valkey_killed, 0.1),
    "valkey-cut": (valkey_cut, 0.1),
    "valkey-flushed": (valkey_flushed, 0.1),
    "valkey-frozen": (valkey_frozen, 1.0),
    "groups-destroyed": (groups_destroyed, 0.1),
    "replies-lost": (replies_lost, 1.0),
    "postgres-stopped": (postgres_stopped, 1.0),
    "postgres-frozen": (postgres_frozen, 1.0),
    "backends-terminated": (backends_terminated, 0.5),
    "both-down": (both_down, 0.5),
}
"""What can go wrong, and for which part of the time of a long run."""


async def run_outage(servers: Servers, name: str, *, seed: int, seconds: float, processes: int = 2) -> Verdict:
    """One outage under load, and what became of everything."""
    outage, _ = OUTAGES[name]
    rng = random.Random(seed)
    assert servers.redis_url is not None
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(proxied(servers.redis_url.removeprefix("unix://"), rng))
        own = {"REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"} if outage is replies_lost else {}
        lab = await stack.enter_async_context(open_lab(servers, latency_s=0.005, **own))
        await asyncio.gather(*(lab.fleet.start(number) for number in range(processes)))
        load = lab.load(seed, PEOPLE, EACH)
        here = Scene(lab, load, proxy, rng, seed)
        async with sending(load):
            await outage(here, seconds)
        found = await lab.verdict(within_s=90)
        for query in (
            "SELECT order_id AS id FROM orders",
            "SELECT data::jsonb #>> '{order,id}' AS id FROM event_journal",
        ):
            kept = {row["id"] for row in await lab.db.fetch(query)}
            found.doubled += [f"refused and kept: {order}" for order in here.refused & kept]
        assert load.no_retry_after == 0, "a 503 without Retry-After"
        for number in list(lab.fleet.running):
            assert await lab.fleet.end(number) == 0
        return found


async def _main(servers: Servers, arguments: argparse.Namespace) -> bool:
    good = True
    for name in arguments.only or OUTAGES:
        began, share = time.monotonic(), OUTAGES[name][1]
        found = await run_outage(
            servers, name, seed=arguments.seed, seconds=share * arguments.seconds, processes=arguments.processes
        )
        print(f"seed {arguments.seed}: {name}: {found.line()}, {time.monotonic() - began:.0f} s", flush=True)
        if not found.good:
            print(found.details())
        good &= found.good
    return good


def main() -> int:
    """Every outage once; exit code 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.outages", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=sorted(OUTAGES))
    arguments = parser.parse_args()
    return command(lambda servers: _main(servers, arguments))


if __name__ == "__main__":
    sys.exit(main())
