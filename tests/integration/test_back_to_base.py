"""What an outage makes a process open, it closes again: connections and descriptors come back to where they were.

The daemon runs in the process of the test, whose descriptors are counted. The servers are this file's own, since they
are stopped by signals.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Final

import asyncpg
import pytest
from aiohttp import ClientSession, ClientTimeout, TCPConnector
from pydantic import SecretStr

from adapters.postgres import pool
from adapters.redis import idle
from daemon.app import assembled
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from daemon.settings.model import Settings
from daemon.stores.embedded.servers import Server, Servers
from daemon.stores.located import Addresses
from tests.support.daemons import API_KEY, some_orders
from tests.support.servers import frozen, migrated_database, own_servers
from tests.support.until import until

IDLE_S: Final = 1.0
"""In place of the pools' own, so that the test is short."""

AT_ONCE: Final = 60
"""Requests under way while the store is frozen."""

BACK_WITHIN_S: Final = 30.0


@pytest.fixture(scope="module")
def own() -> Iterator[Servers]:
    with own_servers(fsync=False) as servers:
        yield servers


@pytest.fixture
async def database(own: Servers) -> AsyncIterator[str]:
    async with migrated_database(str(own.database_url)) as url:
        yield url


@pytest.fixture
async def url(own: Servers, database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The orders' address of a daemon that runs here."""
    monkeypatch.setattr(pool, "IDLE_S", IDLE_S)
    monkeypatch.setattr(idle, "IDLE_S", IDLE_S)
    async with CgbSandbox("live") as cgb:
        cgb.switches.limit = None
        settings = Settings(
            ferryman_port=0,
            ferryman_lease_seconds=2,
            orders_api_key=(SecretStr(API_KEY),),
            cgb_api_url=cgb.url,
            cgb_api_key=SecretStr(TOKEN),
            cgb_rate_per_minute=1_000_000,
        )
        async with assembled(settings, Addresses(str(own.redis_url), database, private=False)) as daemon:
            stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
            running = asyncio.create_task(daemon.run(stop, port.set_result))
            try:
                yield f"http://127.0.0.1:{await asyncio.wait_for(port, 30)}/webhooks/orders"
            finally:
                stop.set()
                await running


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def connections(own: Servers) -> int:
    """The connections that the daemon has to Postgres."""
    conn = await asyncpg.connect(own.database_url)
    try:
        return int(await conn.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ferryman'"))
    finally:
        await conn.close()


async def send(url: str, orders: Iterator[int], number: int) -> list[int]:
    """The statuses of *number* orders sent at once, over connections that are closed afterwards."""
    everyone = some_orders(2000)

    async def post(session: ClientSession) -> int:
        data = json.dumps(everyone[next(orders)])
        async with session.post(url, data=data, headers={"X-API-Key": API_KEY}) as answer:
            return answer.status

    connector = TCPConnector(limit=0, force_close=True)
    async with ClientSession(connector=connector, timeout=ClientTimeout(30)) as session:
        return list(await asyncio.gather(*(post(session) for _ in range(number))))


@pytest.mark.parametrize("name", ["postgres", "redis"])
async def test_connections_and_descriptors_come_back_to_the_base_after_a_freeze(
    own: Servers, url: str, name: str
) -> None:
    orders, base = count(), 0
    server: Server | None = own.postgres if name == "postgres" else own.valkey
    assert server is not None
    assert set(await send(url, orders, 5)) == {202}
    base = await settled(own)
    base_connections = await connections(own)
    with frozen(server):
        statuses = await send(url, orders, AT_ONCE)
        most = descriptors()
    assert len(statuses) == AT_ONCE

    async def works() -> bool:
        return set(await send(url, orders, 5)) == {202}

    await until(works, "a process that takes orders again")

    async def back() -> tuple[int, int] | None:
        now = await connections(own), descriptors()
        return now if now[0] <= base_connections and now[1] <= base else None

    try:
        await until(back, "the base", BACK_WITHIN_S, every_s=0.2)
    except TimeoutError:
        pytest.fail(f"{(await connections(own), descriptors())} after {most}, and {(base_connections, base)} before")


async def settled(own: Servers) -> int:
    """The number of descriptors when it no longer changes."""
    seen: list[int] = []

    async def still() -> bool:
        seen.append(descriptors())
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    await until(still, "a number of descriptors that stays", every_s=0.1)
    return seen[-1]
