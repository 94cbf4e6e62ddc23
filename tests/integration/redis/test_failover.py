"""Behind an address that stays the same, another server becomes the primary: only new connections reach it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions as redis_errors

from adapters.postgres.pool import Pool
from adapters.redis.client import client, server_of
from adapters.redis.connections import WrongServers
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from tests.support.cluster import Node, replicated_pair
from tests.support.daemons import environment, ferryman, running, some_orders
from tests.support.proxy import Proxy, proxied
from tests.support.until import until


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Node, Node]]:
    async with replicated_pair(tmp_path / "pair") as started:
        yield started


@pytest.fixture
async def proxy(pair: tuple[Node, Node]) -> AsyncIterator[Proxy]:
    async with proxied(pair[0].port, random.Random(1)) as started:
        yield started


async def fail_over(pair: tuple[Node, Node], proxy: Proxy) -> None:
    """Make the replica the primary, as a managed endpoint does; the former primary keeps its connections."""
    former, next_one = pair
    await next_one.ask("REPLICAOF", "NO", "ONE")
    await former.ask("REPLICAOF", "127.0.0.1", next_one.port)
    proxy.server = next_one.port


async def test_after_one_refusal_all_clients_that_share_their_record_reach_the_new_primary(
    pair: tuple[Node, Node], proxy: Proxy
) -> None:
    url = f"redis://127.0.0.1:{proxy.port}/0"
    shared = WrongServers()
    writer, reader = (client(url, timeout_s=2, wrong_servers=shared) for _ in range(2))
    try:
        await writer.set("a", "before")
        assert await reader.get("a") == b"before"
        await fail_over(pair, proxy)
        with pytest.raises(redis_errors.ReadOnlyError):
            await writer.set("a", "refused")
        await writer.set("a", "after")
        assert (await reader.info("server"))["tcp_port"] == pair[1].port
    finally:
        await writer.aclose()
        await reader.aclose()


async def test_a_look_at_a_server_that_takes_no_writes_fails(pair: tuple[Node, Node]) -> None:
    replica = client(f"redis://127.0.0.1:{pair[1].port}/0", timeout_s=2)
    try:
        with pytest.raises(redis_errors.ReadOnlyError):
            await server_of(replica).look()
    finally:
        await replica.aclose()


async def test_workers_go_on_after_a_failover_without_a_restart(
    tmp_path: Path, database_url: str, db: Pool, pair: tuple[Node, Node], proxy: Proxy
) -> None:
    async with CgbSandbox("live") as cgb:
        cgb.switches.limit = None
        settings: dict[str, Any] = {
            "REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0",
            "DATABASE_URL": database_url,
            "FERRYMAN_ADMIN_TOKEN": "failover-admin-token",
            "CGB_API_URL": cgb.url,
            "CGB_API_KEY": TOKEN,
            "CGB_RATE_PER_MINUTE": 1_000_000,
            "FERRYMAN_LEASE_SECONDS": 2,
        }

        async def synced() -> int:
            return int(await db.fetchval("SELECT count(*) FROM orders WHERE cgb_sync_status = 'synced'"))

        sent = some_orders(40)
        async with running(tmp_path, **settings) as here:
            for order in sent[:20]:
                assert (await here.post(order))[0] == 202
            before = len(sent[:20])
            await until(lambda: _is(synced, before), "the first orders synced")
            await fail_over(pair, proxy)
            for order in sent[20:]:
                assert (await here.post(order))[0] == 202
            await until(lambda: _is(synced, len(sent)), "all orders synced", within_s=20)
            code, out, _ = await ferryman("audit", cwd=tmp_path, env=environment(**settings))
            assert code == 0, out
            assert await here.stop() == 0


async def _is(count: Any, number: int) -> bool:
    return bool(await count() == number)
