"""Redis loses data: what was accepted has its effect once all the same, in order, without an operator."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from adapters.redis.streams import stream_key
from daemon.sandbox import orders
from daemon.sandbox.cgb import CgbSandbox
from tests.support.daemons import environment, ferryman, running, some_orders, synced
from tests.support.until import until


async def test_a_redis_wiped_under_load_loses_nothing_that_was_accepted(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, redis: Redis
) -> None:
    cgb.faults.add("slow", seconds=0.01)
    sent = some_orders(120)
    async with running(tmp_path, **settings) as here:
        for number, order in enumerate(sent):
            assert (await here.post(order))[0] == 202
            if number in (40, 80):
                await redis.flushall()
        await synced(db, 120)
        code, out, _ = await ferryman("audit", cwd=tmp_path, env=environment(**settings))
        assert code == 0, out
        assert await here.stop() == 0
    made = cgb.ledger.contacts_made()
    assert len(made) == len(set(made)) == 120
    assert any("redis.lost_data" in line for line in here.lines)


async def test_a_redis_wiped_while_no_process_ran_is_noticed_at_start(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, redis: Redis
) -> None:
    cgb.faults.add("html", status=502)
    sent = some_orders(10)
    async with running(tmp_path, **settings) as here:
        for order in sent:
            assert (await here.post(order))[0] == 202

        async def journaled() -> bool:
            return bool(await db.fetchval("SELECT count(*) = 10 FROM event_journal"))

        await until(journaled, "ten journaled events")
        assert await here.stop() == 0
    await redis.flushall()
    cgb.faults.clear()
    async with running(tmp_path, **settings) as here:
        await synced(db, 10)
    assert set(cgb.ledger.creates_by_contact().values()) == {1}


async def test_what_is_recovered_for_a_person_goes_before_what_is_newer(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, redis: Redis
) -> None:
    cgb.faults.add("html", status=502)
    older, newer = orders.same_person_twice(random.Random(4), 60)
    async with running(tmp_path, **settings) as here:
        assert (await here.post(older))[0] == 202

        async def journaled() -> bool:
            return bool(await db.fetchval("SELECT count(*) = 1 FROM event_journal"))

        async def both_journaled() -> bool:
            return bool(await db.fetchval("SELECT count(*) = 2 FROM event_journal WHERE type = 'order.received'"))

        await until(journaled, "a journaled event")
        await redis.flushall()
        assert (await here.post(newer))[0] == 202
        cgb.faults.clear()
        await synced(db, 2)
        await until(both_journaled, "two journaled orders")
    ended = await db.fetch(
        "SELECT j.data::jsonb #>> '{order,id}' AS id FROM inbox i JOIN event_journal j ON j.id = i.event_id"
        " WHERE i.worker = 'contact-sync' ORDER BY i.at"
    )
    assert [row["id"] for row in ended] == [older["order"]["id"], newer["order"]["id"]]


async def test_a_destroyed_group_is_made_again_and_nothing_is_done_twice(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, redis: Redis
) -> None:
    sent = some_orders(30)
    async with running(tmp_path, **settings) as here:
        for order in sent[:15]:
            await here.post(order)
        for partition in range(16):
            await redis.xgroup_destroy(stream_key("orders", partition), "contact-sync")
        for order in sent[15:]:
            await here.post(order)
        await synced(db, 30)
        again = sum("bus.read_failed" in line for line in here.lines)
        assert again <= 5, "a lost group must not become a hot loop"
    assert set(cgb.ledger.creates_by_contact().values()) == {1}


async def test_replay_delivers_to_one_worker_alone_and_writes_nothing_twice(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    sent = some_orders(8)
    env = environment(**settings)
    async with running(tmp_path, **settings) as here:
        for order in sent:
            await here.post(order)
        await synced(db, 8)
        writes = len(cgb.ledger.writes())
        code, out, _ = await ferryman("replay", "--worker", "contact-sync", "--dry-run", cwd=tmp_path, env=env)
        assert (code, "8 events of the journal" in out) == (0, True)
        code, _, err = await ferryman("replay", "--worker", "contact-sync", cwd=tmp_path, env=env)
        assert (code, "--yes" in err) == (1, True)
        assert (await ferryman("replay", "--worker", "contact-sync", "--yes", cwd=tmp_path, env=env))[0] == 0

        async def replayed() -> bool:
            return bool(await db.fetchval("SELECT count(*) = 8 FROM inbox WHERE replay_id <> ''"))

        await until(replayed, "eight replayed events")
        assert {row["worker"] for row in await db.fetch("SELECT worker FROM inbox WHERE replay_id <> ''")} == {
            "contact-sync"
        }
        assert len(cgb.ledger.writes()) == writes
        code, out, _ = await ferryman("audit", cwd=tmp_path, env=env)
        assert code == 0, out
        assert await here.stop() == 0


async def test_replay_missing_does_by_hand_what_recovery_does(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    sent = some_orders(5)
    env = environment(**settings)
    async with running(tmp_path, **settings) as here:
        for order in sent:
            await here.post(order)
        await synced(db, 5)
        await db.execute("DELETE FROM inbox WHERE worker = 'contact-sync'")
        code, out, _ = await ferryman("replay", "--missing", "--dry-run", cwd=tmp_path, env=env)
        assert (code, out.strip()) == (0, "5 events are missing somewhere")
        assert (await ferryman("replay", "--missing", cwd=tmp_path, env=env))[0] == 0

        async def ended() -> bool:
            return bool(await db.fetchval("SELECT count(*) = 5 FROM inbox WHERE worker = 'contact-sync'"))

        await until(ended, "five ends")
    assert set(cgb.ledger.creates_by_contact().values()) == {1}
    await asyncio.sleep(0)
