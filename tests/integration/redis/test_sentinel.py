"""Under Sentinel: the master dies, its replica is promoted, and events go on."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres.pool import Pool
from adapters.redis.client import client, server_of
from daemon.sandbox import orders
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from tests.support.cluster import SentinelNodes, sentinel_trio
from tests.support.daemons import environment, ferryman, running
from tests.support.until import until

pytestmark = pytest.mark.slow


@pytest.fixture
async def trio(tmp_path: Path) -> AsyncIterator[SentinelNodes]:
    async with sentinel_trio(tmp_path / "sentinel") as started:
        yield started


async def test_the_client_talks_to_the_master(trio: SentinelNodes) -> None:
    redis = client(trio.url, timeout_s=2.0)
    try:
        assert await redis.set("a", "b")
        assert server_of(redis).serving(["a"]) == f"127.0.0.1:{trio.master.port}"
    finally:
        await redis.aclose()


async def test_a_killed_master_is_replaced_and_nothing_is_lost_or_doubled(
    tmp_path: Path, database_url: str, cgb: CgbSandbox, db: Pool, trio: SentinelNodes
) -> None:
    settings: dict[str, Any] = {
        "REDIS_URL": trio.url,
        "DATABASE_URL": database_url,
        "FERRYMAN_ADMIN_TOKEN": "sentinel-admin-token",
        "CGB_API_URL": cgb.url,
        "CGB_API_KEY": TOKEN,
        "CGB_RATE_PER_MINUTE": 1_000_000,
        "FERRYMAN_LEASE_SECONDS": 2,
    }
    cgb.faults.add("slow", seconds=0.02)
    rng = random.Random(41)
    sent = [orders.make_order(rng, n, branch="il") for n in range(80)]
    async with running(tmp_path, **settings) as here:
        for order in sent[:40]:
            assert (await here.post(order))[0] == 202
        await trio.master.kill()
        killed = time.monotonic()
        for order in sent[40:]:
            assert (await here.post(order))[0] == 202
            await asyncio.sleep(0.05)

        async def all_synced() -> bool:
            return int(await db.fetchval("SELECT count(*) FROM orders WHERE cgb_sync_status = 'synced'")) == 80

        await until(all_synced, "80 synced orders")
        print(f"synced {time.monotonic() - killed:.1f} s after the kill")
        code, out, _ = await ferryman("audit", cwd=tmp_path, env=environment(**settings))
        assert code == 0, out
        assert await here.stop() == 0
    assert set(cgb.ledger.creates_by_contact().values()) == {1}
    assert (await trio.replica.redis.info("replication"))["role"] == "master"
    assert sum('"redis.lost_data"' in line for line in here.lines) == 1
