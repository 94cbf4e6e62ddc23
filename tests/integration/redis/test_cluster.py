"""On a Redis cluster of six nodes: what holds on one server holds there, also when a primary dies or loses its data."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres.pool import Pool
from adapters.redis.streams import stream_key
from daemon.operator.doctor import examine
from daemon.operator.inspection import Inspection, inspect_installation
from daemon.sandbox import orders
from daemon.sandbox.cgb import CgbSandbox
from daemon.settings.model import Settings
from tests.support.cluster import ClusterNodes
from tests.support.daemons import Running, environment, ferryman, running
from tests.support.until import until

pytestmark = pytest.mark.slow


def some_orders(count: int, seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [orders.make_order(rng, n, branch="il") for n in range(count)]


async def synced(db: Pool, count: int) -> None:
    async def all_synced() -> bool:
        found = await db.fetchval("SELECT count(*) FROM orders WHERE cgb_sync_status = 'synced'")
        return int(found) >= count

    await until(all_synced, f"{count} synced orders")


async def balanced(tmp_path: Path, settings: dict[str, Any]) -> None:
    code, out, _ = await ferryman("audit", cwd=tmp_path, env=environment(**settings))
    assert code == 0, out


def logged(here: Running, event: str) -> int:
    return sum(f'"{event}"' in line for line in here.lines)


async def test_orders_are_synced_once_from_every_node_and_a_pause_holds(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, nodes: ClusterNodes
) -> None:
    env = environment(**settings)
    sent = some_orders(60, seed=31)
    async with running(tmp_path, **settings) as here:
        for order in sent[:50]:
            assert (await here.post(order))[0] == 202
        await synced(db, 50)
        assert (await ferryman("pause", "contact-sync", cwd=tmp_path, env=env))[0] == 0

        async def paused() -> bool:
            return logged(here, "operator.paused") == 1

        await until(paused, "a paused worker")
        for order in sent[50:]:
            assert (await here.post(order))[0] == 202
        await asyncio.sleep(1.0)
        assert len(cgb.ledger.contacts_made()) == 50
        assert (await ferryman("resume", "contact-sync", cwd=tmp_path, env=env))[0] == 0
        await synced(db, 60)
        await balanced(tmp_path, settings)
        assert await here.stop() == 0
    assert len(cgb.ledger.contacts_made()) == 60
    assert set(cgb.ledger.creates_by_contact().values()) == {1}
    holders = {nodes.first_primary_of(stream_key("orders", p)).port for p in range(16)}
    assert len(holders) == 3
    assert logged(here, "redis.lost_data") == logged(here, "redis.not_durable") == logged(here, "bus.read_failed") == 0


@pytest.mark.parametrize("victim", ["ferryman:{0}:mark", "ferryman:{bus}:leases"])
async def test_a_killed_primary_loses_nothing_doubles_nothing_and_keeps_the_order(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, nodes: ClusterNodes, victim: str
) -> None:
    cgb.faults.add("slow", seconds=0.02)
    rng = random.Random(32)
    pairs = [orders.same_person_twice(rng, 100 + 2 * n) for n in range(20)]
    others = some_orders(60, seed=33)
    first = [*others[:20], *(older for older, _ in pairs)]
    second = [*(newer for _, newer in pairs), *others[20:]]
    async with running(tmp_path, **settings) as here:
        for order in first:
            assert (await here.post(order))[0] == 202
        await nodes.first_primary_of(victim).kill()
        spooled, killed = 0, time.monotonic()
        for order in second:
            status, _ = await here.post(order)
            assert status == 202
            spooled += (await here.ready())["accepting"] == "spool"
            await asyncio.sleep(0.05)
        await synced(db, 100)
        print(f"synced {time.monotonic() - killed:.1f} s after the kill, {spooled} answers while spooling")
        assert spooled
        await balanced(tmp_path, settings)
        assert await here.stop() == 0
    assert set(cgb.ledger.creates_by_contact().values()) == {1}
    assert logged(here, "bus.read_failed") <= 40, "a lost node must not become a hot loop"
    assert logged(here, "redis.lost_data") >= 1
    ended = await db.fetch(
        "SELECT DISTINCT ON (j.id) j.data::jsonb #>> '{order,id}' AS id, i.at FROM inbox i"
        " JOIN event_journal j ON j.id = i.event_id WHERE i.worker = 'contact-sync' ORDER BY j.id, i.at"
    )
    at = {row["id"]: row["at"] for row in ended}
    assert len(at) == 100
    inverted = [older for older, newer in pairs if at[older["order"]["id"]] > at[newer["order"]["id"]]]
    assert not inverted


async def test_what_a_promoted_replica_never_got_is_published_again(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, nodes: ClusterNodes
) -> None:
    env = environment(**settings)
    primary = nodes.first_primary_of("ferryman:{0}:mark")
    replica = nodes.replica_of(primary)
    async with running(tmp_path, **settings) as here:
        assert (await ferryman("pause", "contact-sync", cwd=tmp_path, env=env))[0] == 0

        async def paused() -> bool:
            return logged(here, "operator.paused") == 1

        await until(paused, "a paused worker")
        await asyncio.sleep(1.5)  # the read that was under way
        replica.process.send_signal(signal.SIGSTOP)
        try:
            await primary.ask("CLIENT KILL", "TYPE", "replica")
            for order in some_orders(40, seed=36):
                assert (await here.post(order))[0] == 202
            kept = sum([await primary.ask("XLEN", key) for key in nodes.keys_of(primary)])
            await primary.kill()
        finally:
            replica.process.send_signal(signal.SIGCONT)
        assert kept > 5

        async def recovered() -> bool:
            return logged(here, "redis.lost_data") >= 1

        await until(recovered, "a loss that was noticed")
        assert (await ferryman("resume", "contact-sync", cwd=tmp_path, env=env))[0] == 0
        await synced(db, 40)
        await balanced(tmp_path, settings)
        assert await here.stop() == 0
    assert set(cgb.ledger.creates_by_contact().values()) == {1}


async def test_two_processes_share_the_leases_and_one_takes_over_from_the_other(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    sent = some_orders(40, seed=34)
    async with running(tmp_path, **settings) as one, running(tmp_path, **settings) as two:

        async def shared() -> bool:
            held = [set((await here.ready())["leases"]["contact-sync"]) for here in (one, two)]
            return len(held[0] | held[1]) == 16 and not held[0] & held[1] and min(map(len, held)) >= 5

        await until(shared, "leases shared by two processes")
        for n, order in enumerate(sent):
            if n == 25:
                one.process.kill()
            if n >= 25:
                assert (await two.post(order))[0] == 202
            else:
                assert (await (one, two)[n % 2].post(order))[0] == 202
        await synced(db, 40)
        await balanced(tmp_path, settings)
        assert await two.stop() == 0
    assert set(cgb.ledger.creates_by_contact().values()) == {1}


async def test_one_primary_wiped_under_load_is_noticed_by_the_marks_of_its_partitions(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, nodes: ClusterNodes
) -> None:
    cgb.faults.add("slow", seconds=0.02)
    sent = some_orders(90, seed=35)
    async with running(tmp_path, **settings) as here:
        for n, order in enumerate(sent):
            assert (await here.post(order))[0] == 202
            if n in (30, 60):
                await nodes.first_primary_of("ferryman:{0}:mark").ask("FLUSHALL")
        await synced(db, 90)
        await balanced(tmp_path, settings)
        assert await here.stop() == 0
    made = cgb.ledger.contacts_made()
    assert len(made) == len(set(made)) == 90
    assert logged(here, "redis.lost_data") >= 1


async def test_with_all_nodes_away_the_process_lives_and_takes_orders_into_the_spool(
    tmp_path: Path, settings: dict[str, Any], db: Pool, nodes: ClusterNodes
) -> None:
    async with running(tmp_path, **settings) as here:
        for node in nodes.nodes:
            await node.kill()
        for order in some_orders(20, seed=37):
            assert (await here.post(order))[0] == 202
            await asyncio.sleep(0.1)
        assert (await here.ready())["accepting"] == "spool"
        assert await db.fetchval("SELECT count(*) FROM spool") == 20
        assert await here.stop() == 0
    assert len(here.lines) < 100


async def test_the_doctor_asks_every_node(settings: dict[str, Any], nodes: ClusterNodes) -> None:
    read = Settings(redis_url=settings["REDIS_URL"], database_url=settings["DATABASE_URL"], ferryman_port=0)

    async def all_six() -> Inspection | None:
        seen = await inspect_installation(read)
        return seen if len(seen.nodes) == 6 else None  # the map leaves a replica out that has had nothing to copy

    found = await until(all_six, "a map with all nodes")
    assert found is not None
    assert {node.address for node in found.nodes} == {f"127.0.0.1:{node.port}" for node in nodes.nodes}
    assert [node.role for node in found.nodes] == ["master"] * 3 + ["slave"] * 3
    assert found.redis is not None
    assert (found.redis.durability, found.redis.replicas, found.silent_nodes) == ("always", 3, ())
    evicting, bare, gone = nodes.nodes[3:]
    await evicting.ask("CONFIG SET", "maxmemory-policy", "allkeys-lru")
    await bare.ask("CONFIG SET", "appendonly", "no")
    await gone.kill()

    async def five() -> Inspection | None:
        seen = await inspect_installation(read)
        return seen if len(seen.nodes) == 5 and seen.silent_nodes else None

    found = await until(five, "a map without the node that is gone")
    assert found is not None
    assert found.redis is not None
    assert (found.redis.durability, found.redis.policy, found.redis.appendonly) == ("none", "allkeys-lru", False)
    said = {finding.text: finding.level for finding in examine(found)}
    assert said[f"maxmemory-policy of the node 127.0.0.1:{evicting.port} is allkeys-lru: it would drop accepted events"]
    assert said[f"the node 127.0.0.1:{bare.port} has no append-only file"] == "warn"
    assert said[f"the node 127.0.0.1:{gone.port} does not answer"] == "warn"
    assert sum("Valkey" in text for text in said) == 5


async def nothing_waits(cwd: Path, settings: dict[str, Any]) -> bool:
    _, out, _ = await ferryman("workers", "list", "--json", cwd=cwd, env=environment(**settings))
    return all(worker["waiting"] == 0 for worker in json.loads(out))


async def test_the_partitions_change_without_a_false_alarm_of_a_loss(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, nodes: ClusterNodes
) -> None:
    sent = some_orders(60, seed=38)
    for round, (number, following) in enumerate(((16, 24), (24, 3), (3, 16))):
        own = settings | {"FERRYMAN_PARTITIONS": number}
        async with running(tmp_path, **own) as here:
            for order in sent[20 * round : 20 * (round + 1)]:
                assert (await here.post(order))[0] == 202
            await synced(db, 20 * (round + 1))

            async def journaled(count: int = 40 * (round + 1)) -> bool:
                return int(await db.fetchval("SELECT count(*) FROM inbox WHERE worker = 'journal'")) == count

            await until(journaled, "a journal of orders and what came of them")
            await until(partial(nothing_waits, tmp_path, own), "workers that have read everything")
            assert await here.stop() == 0
            assert logged(here, "redis.lost_data") == 0
        code, out, err = await ferryman("partitions", str(following), "--yes", cwd=tmp_path, env=environment(**own))
        assert code == 0, out + err
    await balanced(tmp_path, settings)
    assert set(cgb.ledger.creates_by_contact().values()) == {1}
