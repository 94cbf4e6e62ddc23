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
from daemon.sandbox.cgb import CgbSandbox
from tests.support.cluster import Node, replicated_pair
from tests.support.daemons import Running, digits_of, environment, ferryman, running, some_orders, synced
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


@pytest.fixture
def redis_address(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


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
    tmp_path: Path, db: Pool, pair: tuple[Node, Node], proxy: Proxy, settings: dict[str, Any], cgb: CgbSandbox
) -> None:
    sent = some_orders(40)
    async with running(tmp_path, **settings) as here:
        for order in sent[:20]:
            assert (await here.post(order))[0] == 202
        await synced(db, 20)
        await fail_over(pair, proxy)
        for order in sent[20:]:
            assert (await here.post(order))[0] == 202
        await synced(db, 40)
        code, out, _ = await ferryman("audit", cwd=tmp_path, env=environment(**settings))
        assert code == 0, out
        assert await here.stop() == 0
    assert set(cgb.ledger.creates_by_contact().values()) == {1}


async def test_readyz_tells_the_gap_of_a_failover_and_nothing_of_before_or_meanwhile_is_lost(
    tmp_path: Path, db: Pool, pair: tuple[Node, Node], proxy: Proxy, settings: dict[str, Any], cgb: CgbSandbox
) -> None:
    """The former primary is a replica already, and the address does not lead to the new one yet."""
    former, next_one = pair
    before, meanwhile, after = some_orders(20), some_orders(25)[20:], some_orders(30)[25:]
    slow = cgb.faults.add("slow", seconds=0.3)  # so that entries are under way
    async with running(tmp_path, **settings) as here:
        for order in before:
            assert (await here.post(order))[0] == 202
        await until(lambda: _in_step(former, next_one), "a replica in step")
        await next_one.ask("REPLICAOF", "NO", "ONE")
        await former.ask("REPLICAOF", "127.0.0.1", next_one.port)
        await until(lambda: _says(here, "down", "spool"), "/readyz that tells the gap", within_s=5)
        for order in meanwhile:
            assert (await here.post(order))[0] == 202
        proxy.server = next_one.port
        await until(lambda: _says(here, "up", "redis"), "a process on the new primary")
        for order in after:
            assert (await here.post(order))[0] == 202
        assert slow.kind == "slow"
        cgb.faults.clear()
        await synced(db, 30)
        code, out, _ = await ferryman("audit", cwd=tmp_path, env=environment(**settings))
        assert code == 0, out
        assert await here.stop() == 0
    assert len(cgb.ledger.contacts_made()) == len({digits_of(order) for order in (*before, *meanwhile, *after)})


async def _says(here: Running, redis: str, accepting: str) -> bool:
    document = await here.ready()
    return (document.get("redis"), document.get("accepting")) == (redis, accepting)


async def _in_step(former: Node, next_one: Node) -> bool:
    ours, theirs = await former.redis.info("replication"), await next_one.redis.info("replication")
    return bool(ours["master_repl_offset"] == theirs["slave_repl_offset"])
