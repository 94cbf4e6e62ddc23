"""A node of a cluster loses the tail of what it was given: nothing accepted is lost, and each person's order holds."""

from __future__ import annotations

import random
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from adapters.redis.client import client, server_of
from adapters.redis.cluster import beside
from adapters.redis.server import Untrusted
from adapters.redis.streams import StreamErrors, Streams, stream_key
from daemon.sandbox import orders
from daemon.sandbox.cgb import CgbSandbox
from tests.support.cluster import ClusterNodes, Node
from tests.support.daemons import Running, environment, ferryman, running
from tests.support.toy import make_event
from tests.support.until import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PERSONS: Final = 16


class Persons:
    """They order again and again."""

    def __init__(self, here: Running) -> None:
        self.sent: list[list[str]] = [[] for _ in range(PERSONS)]
        self._here = here
        self._rng = random.Random(45)

    async def order(self) -> None:
        """Each of them orders once."""
        for person, ids in enumerate(self.sent):
            older, newer = orders.same_person_twice(self._rng, 100 + 2 * person)
            order = newer if ids else older
            order["order"]["id"] = f"IL310214GB{person:02d}{len(ids)}"
            assert (await self._here.post(order))[0] == 202
            ids.append(order["order"]["id"])

    async def synced_in_order(self, db: Pool) -> None:
        """Wait for all, and compare."""

        async def ended() -> list[str]:
            rows = await db.fetch(
                "SELECT j.data::jsonb #>> '{order,id}' AS id FROM inbox i JOIN event_journal j ON j.id = i.event_id"
                " WHERE i.worker = 'contact-sync' ORDER BY i.at"
            )
            return [row["id"] for row in rows]

        async def all_ended() -> bool:
            return len(await ended()) >= sum(map(len, self.sent))

        await until(all_ended, "the end of all orders")
        at = {order: place for place, order in enumerate(await ended())}
        assert at.keys() == {order for ids in self.sent for order in ids}
        assert not [(a, b) for ids in self.sent for a, b in pairwise(ids) if at[a] > at[b]]
        rows = await db.fetch("SELECT order_id FROM orders WHERE cgb_sync_status = 'synced'")
        assert {row["order_id"] for row in rows} == at.keys()


async def paused(tmp_path: Path, settings: dict[str, Any], here: Running) -> None:
    """Nothing is read for contact-sync until it is resumed."""
    assert (await ferryman("pause", "contact-sync", cwd=tmp_path, env=environment(**settings)))[0] == 0
    await until(lambda: any("operator.paused" in line for line in here.lines), "a paused worker")


async def newest_entries(node: Node, nodes: ClusterNodes, count: int) -> list[bytes]:
    """The ids of the last *count* entries of each stream of orders that *node* holds."""
    found: list[bytes] = []
    for key in nodes.keys_of(node):
        entries: Any = await node.redis.xrevrange(key, count=count)
        found += [entry_id for entry_id, _ in entries]
    return found


@pytest.mark.parametrize("how", ["started again in its place", "its replica takes over"])
async def test_a_tail_that_a_node_lost_comes_back_before_what_is_newer(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, nodes: ClusterNodes, how: str
) -> None:
    node = nodes.first_primary_of("ferryman:{0}:mark")
    replica = nodes.replica_of(node)
    async with running(tmp_path, **settings) as here:
        persons = Persons(here)
        await persons.order()
        await paused(tmp_path, settings, here)
        replica.process.send_signal(signal.SIGSTOP)
        try:
            await node.ask("CLIENT KILL", "TYPE", "replica")
            await persons.order()
            tail = await newest_entries(node, nodes, 1)
            assert tail
            await node.kill()
            if how == "started again in its place":
                node.cut_tail(tail)
                await node.restart()
                await persons.order()
        finally:
            replica.process.send_signal(signal.SIGCONT)
        await persons.order()
        await until(lambda: any("redis.lost_data" in line for line in here.lines), "a loss that was noticed")
        assert (await ferryman("resume", "contact-sync", cwd=tmp_path, env=environment(**settings)))[0] == 0
        await persons.synced_in_order(db)
        code, out, _ = await ferryman("audit", cwd=tmp_path, env=environment(**settings))
        assert code == 0, out
        assert await here.stop() == 0
    assert set(cgb.ledger.creates_by_contact().values()) == {1}


async def answers(redis: Redis) -> bool:
    """Whether every node of the cluster does, and the client knows them."""
    try:
        await server_of(redis).look()
    except StreamErrors:
        return False
    return True


@pytest.mark.parametrize("how", ["started again", "emptied"])
async def test_a_node_that_was_started_again_or_emptied_takes_nothing_before_recovery_has_looked(
    nodes: ClusterNodes, how: str
) -> None:
    redis = client(nodes.url, timeout_s=2, connections=10)
    try:
        streams = Streams(redis, 16, recovers=True)
        for partition in range(16):
            await redis.set(f"ferryman:{{{partition}}}:mark", "m")
        assert await streams.appends.restarted()
        streams.appends.trust("ferryman:{0}:mark", "m")
        assert not await streams.appends.restarted()
        events = [make_event(f"key-{n}") for n in range(40)]
        await streams.append(events)
        ids = [entry_id for _, entry_id in streams.recent.there()]
        assert [event.id for event in streams.recent.events()] == [event.id for event in events]
        for event, entry_id in zip(events, ids, strict=True):
            (found,) = await streams.fetch([(streams._key(event), entry_id.decode())])
            assert found.fields[b"id"] == event.id.encode(), "each id is its own event's"
        node = nodes.first_primary_of(stream_key("orders", 0))
        if how == "emptied":
            await node.ask("FLUSHALL")
        else:
            await node.kill()
            await node.restart()
        await until(lambda: answers(redis), "a cluster that answers")
        with pytest.raises(Untrusted):
            await streams.append(events)
        with pytest.raises(Untrusted):
            await streams.append(events[:1])
        assert await streams.appends.restarted()
    finally:
        await redis.aclose()


def test_the_mark_of_a_key_is_in_its_slot() -> None:
    assert beside("ferryman:{0}:mark", "ferryman:{12}:orders") == "ferryman:{12}:mark"
    assert beside("", "ferryman:{12}:orders") == "ferryman:{12}:orders"
