"""Redis forgets everything while records are pushed: pushes go on, and each change is told to the workers all the
same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from tests.support.records_rig import site
from tests.support.until import until

MODELS = """
[models.Lead]
phone = "phone"

[models.Lead.fields]
name = { type = "text", max = 200 }
phone = { type = "text", max = 40 }
"""


def _create(n: int) -> dict[str, Any]:
    data = {"name": "Ann", "phone": f"+97250555{n % 10_000:04}"}
    return {"op_id": str(uuid4()), "operation": "CREATE", "model": "Lead", "record_id": f"l{n}", "data": data}


async def test_changes_reach_the_workers_though_redis_is_wiped_under_the_pushes(
    tmp_path: Path, postgres_url: str
) -> None:
    workers = {"FERRYMAN_WORKERS": "journal,record-sync"}
    async with site(tmp_path, "hub", postgres_url, models=MODELS, **workers) as hub, hub.looked_into() as pool:
        token, count, over = await hub.token("--user", "noa"), 0, asyncio.Event()

        async def push() -> None:
            nonlocal count
            while not over.is_set():
                first, count = count, count + 10
                answers = await hub.push(*map(_create, range(first, first + 10)), token=token)
                assert {one["result"] for one in answers} == {"applied"}

        pushing = [asyncio.create_task(push()) for _ in range(2)]
        async with Redis.from_url(str(hub.settings["REDIS_URL"])) as redis:
            for _ in range(3):
                there = count
                await until(lambda there=there: count >= there + 300)  # type: ignore[misc]
                await redis.flushall()
        over.set()
        await asyncio.gather(*pushing)
        await until(lambda: _all_told(pool, count), "what record-sync finds of each", 40)
        assert await pool.fetchval("SELECT count(*) FROM outbox") == 0


async def _all_told(pool: Pool, count: int) -> bool:
    return bool(await pool.fetchval("SELECT count(line) FROM record_people") == count)
