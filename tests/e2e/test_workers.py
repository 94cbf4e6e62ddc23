"""The installation's workers: what is accepted is kept for each of them, whichever process runs it, or none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from daemon.sandbox.cgb import CgbSandbox
from tests.support.daemons import RUNNING, Running, environment, ferryman, running, some_orders, synced
from tests.support.until import until


async def post_all(here: Running, orders: list[dict[str, Any]]) -> None:
    for order in orders:
        assert (await here.post(order))[0] == 202


async def journaled(db: Pool, count: int) -> None:
    async def all_of_them() -> bool:
        return bool(await db.fetchval("SELECT count(*) >= $1 FROM event_journal", count))

    await until(all_of_them, f"{count} journaled events")


async def test_a_redis_wiped_while_a_worker_of_another_process_is_down_loses_none_of_its_work(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, redis: Redis
) -> None:
    first, *sent = some_orders(25)
    alone = settings | {"FERRYMAN_WORKERS": "journal"}
    syncing = settings | {"FERRYMAN_WORKERS": "contact-sync"}
    async with running(tmp_path, **alone) as journal:
        async with running(tmp_path, **syncing) as sync:
            await post_all(sync, [first])
            await synced(db, 1)
            assert await sync.stop() == 0
        await post_all(journal, sent)
        await journaled(db, 25)
        await redis.flushall()

        async def noticed() -> bool:
            return any("redis.lost_data" in line for line in journal.lines)

        await until(noticed, "the loss is noticed")
        code, out, _ = await ferryman("audit", "--json", cwd=tmp_path, env=environment(**alone))
        assert (code, json.loads(out)["workers"]["contact-sync"]["open"]) == (0, 24)
        async with running(tmp_path, **syncing):
            await synced(db, 25)
    assert set(cgb.ledger.creates_by_contact().values()) == {1}


async def test_what_comes_while_a_worker_is_off_is_kept_for_it_and_told(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    without = {name: value for name, value in settings.items() if name != "CGB_API_KEY"}
    async with running(tmp_path, **without) as here:
        await post_all(here, some_orders(3))
        await journaled(db, 3)
        code, out, _ = await ferryman("audit", "--json", cwd=tmp_path, env=environment(**without))
        sums = json.loads(out)["workers"]["contact-sync"]
        assert (code, sums["accepted"], sums["open"]) == (0, 3, 3)
        code, out, _ = await ferryman("workers", "list", "--json", cwd=tmp_path, env=environment(**without))
        (worker,) = [found for found in json.loads(out) if found["name"] == "contact-sync"]
        assert (worker["running"], worker["first_run_at"], worker["waiting"]) == (False, None, 3)
        assert await here.stop() == 0
    async with running(tmp_path, **settings):
        await synced(db, 3)


async def test_a_worker_is_taken_out_by_the_verb_alone_and_not_while_a_process_runs_it(
    tmp_path: Path, settings: dict[str, Any], db: Pool, redis: Redis
) -> None:
    env = environment(**settings)
    async with running(tmp_path, **settings) as here:
        code, _, err = await ferryman("workers", "forget", "contact-sync", "--yes", cwd=tmp_path, env=env)
        assert (code, "a process runs contact-sync" in err) == (1, True)
        assert await here.stop() == 0
    await db.execute("UPDATE workers SET last_seen_at = now() - interval '2 minutes'")
    code, _, err = await ferryman("workers", "forget", "journal", "--yes", cwd=tmp_path, env=env)
    assert (code, "it stays" in err) == (1, True)
    code, out, _ = await ferryman("workers", "forget", "contact-sync", "--dry-run", cwd=tmp_path, env=env)
    assert (code, "would be forgotten" in out) == (0, True)
    assert await db.fetchval("SELECT count(*) FROM workers") == len(RUNNING)
    code, out, _ = await ferryman("workers", "forget", "contact-sync", "--yes", cwd=tmp_path, env=env)
    assert (code, "is forgotten" in out) == (0, True)
    left = sorted(worker.name for worker in RUNNING if worker.name != "contact-sync")
    assert await db.fetchval("SELECT array_agg(name ORDER BY name) FROM workers") == left
    groups: Any = await redis.xinfo_groups("ferryman:{0}:orders")
    assert sorted(group["name"].decode() for group in groups) == sorted(
        worker.name for worker in RUNNING if worker.name in left and "orders" in worker.reads
    )
    code, _, err = await ferryman("workers", "forget", "unheard-of", "--yes", cwd=tmp_path, env=env)
    assert (code, f"there is no worker unheard-of here: there are {', '.join(left)}" in err) == (1, True)
