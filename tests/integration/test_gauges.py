"""What a process tells of itself, its disk and the stores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.channel import Channels
from adapters.postgres.pool import Pool
from adapters.redis.client import client
from daemon.bus.worker import Outside, utc_now
from daemon.gauges import duties, tell
from daemon.settings.model import Settings
from tests.support.bus import make_metrics
from tests.support.page import samples


async def measured(db: Pool, redis: Redis, **settings: Any) -> Mapping[str, float]:
    """What one round of every duty tells."""
    metrics = make_metrics()
    async with ClientSession() as session:
        outside = Outside(
            settings=Settings(**settings),
            secret=lambda name: "",
            pool=db,
            redis=redis,
            session=session,
            channels=Channels(),
            metrics=metrics,
            now=utc_now,
        )
        for duty in duties(outside):
            await duty.act()
    return samples(metrics)


async def test_both_stores_tell_how_much_of_them_is_in_use(db: Pool, redis: Redis, tmp_path: Path) -> None:
    told = await measured(db, redis, ferryman_data_dir=tmp_path)
    assert told['ferryman_store_memory_bytes{store="redis"}'] > 500_000
    assert told['ferryman_store_size_bytes{store="postgres"}'] > 5_000_000
    assert told['ferryman_store_size_bytes{store="redis"}'] >= 0
    for store in ("redis", "postgres"):
        assert told[f'ferryman_store_connections{{store="{store}"}}'] >= 1
        assert 0 < told[f'ferryman_store_write_seconds{{store="{store}"}}'] < 5
    assert 0 < told["ferryman_disk_free_bytes"] <= told["ferryman_disk_size_bytes"]


async def test_every_connection_counts(db: Pool, redis: Redis, redis_url: str) -> None:
    before = (await measured(db, redis))['ferryman_store_connections{store="redis"}']
    others = [client(redis_url, timeout_s=5, connections=1) for _ in range(5)]
    for other in others:
        await other.ping()
    assert (await measured(db, redis))['ferryman_store_connections{store="redis"}'] >= before + 5
    for other in others:
        await other.aclose()


async def test_the_write_of_postgres_is_a_commit(db: Pool, redis: Redis) -> None:
    """Promise: what is measured waits for the disk as a transaction of the daemon does; a read would not."""
    async with db.acquire() as conn:
        before = await conn.fetchval("SELECT pg_current_wal_insert_lsn()")
        first = await conn.fetchval("SELECT txid_snapshot_xmax(txid_current_snapshot())")
    await measured(db, redis)
    async with db.acquire() as conn:
        assert await conn.fetchval("SELECT pg_current_wal_insert_lsn() > $1", before)
        assert await conn.fetchval("SELECT txid_snapshot_xmax(txid_current_snapshot())") > first


async def test_a_redis_that_may_not_be_asked_still_tells_how_long_a_write_takes(
    db: Pool, redis: Redis, redis_url: str
) -> None:
    await redis.acl_setuser("poor", enabled=True, nopass=True, commands=["+@all", "-info"], keys=["*"])
    poor: Any = client(redis_url, timeout_s=5, connections=1)
    await poor.execute_command("AUTH", "poor", "any")
    try:
        told = await measured(db, poor)
    finally:
        await poor.aclose()
        await redis.acl_deluser("poor")
    assert told['ferryman_store_write_seconds{store="redis"}'] > 0
    assert 'ferryman_store_memory_bytes{store="redis"}' not in told


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, 'cgb_sync="off"'),
        ({"cgb_api_key": SecretStr("k" * 20)}, 'cgb_sync="on"'),
        ({"cgb_api_key": SecretStr("k" * 20), "cgb_sync_dry_run": True}, 'cgb_sync="dry-run"'),
        ({"cgb_api_key": SecretStr("k" * 20), "cgb_sync_enabled": False}, 'cgb_sync="off"'),
        ({}, 'redis="embedded"'),
        ({"redis_url": "redis://localhost/0"}, 'redis="external"'),
        ({"ferryman_workers": "journal"}, 'workers="some"'),
        ({"messages_default_provider": "meta"}, 'default_provider="meta"'),
    ],
)
def test_the_configuration_is_told_in_words_from_closed_sets(settings: dict[str, Any], says: str) -> None:
    metrics = make_metrics()
    tell(metrics, Settings(**settings), traces=False)
    (info,) = [name for name in samples(metrics) if name.startswith("ferryman_configuration_info{")]
    assert says in info
    assert "other" not in info
    (build,) = [name for name in samples(metrics) if name.startswith("ferryman_build_info{")]
    assert "other" not in build
