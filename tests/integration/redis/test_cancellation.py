"""A task that asks Redis ends when it is canceled, at whatever moment that is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from adapters.redis import client as redis_client
from tests.support.cluster import ClusterNodes, sentinel_trio


async def asks(redis: Redis) -> None:
    while True:
        await redis.ping()


async def canceled_after(redis: Redis, turns: int) -> asyncio.Task[None]:
    """A task that asks, canceled *turns* of the loop after it has begun."""
    task = asyncio.create_task(asks(redis))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    return task


async def check(url: str) -> None:
    redis = redis_client.client(url, timeout_s=5)
    await redis.set("whose", "this one's")
    tasks = [await canceled_after(redis, turns) for turns in range(60) for _ in range(5)]
    try:
        _, running = await asyncio.wait(tasks, timeout=5)
        assert not running
        assert await redis.get("whose") == b"this one's"
    finally:
        for task in tasks:
            for _ in range(20):
                task.cancel()
                await asyncio.sleep(0)
        await redis.aclose()


async def test_a_task_that_asks_again_and_again_ends_at_whatever_moment_it_is_canceled(redis_url: str) -> None:
    await check(redis_url)


@pytest.mark.slow
async def test_under_sentinel_it_ends_too(tmp_path: Path) -> None:
    async with sentinel_trio(tmp_path / "sentinel") as trio:
        await check(trio.url)


@pytest.mark.slow
async def test_in_a_cluster_it_ends_too(nodes: ClusterNodes) -> None:
    await check(nodes.url)
