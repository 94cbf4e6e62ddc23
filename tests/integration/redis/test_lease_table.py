"""The table of leases when the server's clock has stepped back: its ends then lie far in the future."""

from __future__ import annotations

import asyncio
import time
from typing import cast

from redis.asyncio import Redis

from adapters.redis.lease_table import LEASES, MEMBERS, LeaseTable
from tests.support.until import until

PAIR = ("w", 1)
HOUR_S = 3600


async def test_a_dead_owners_lease_runs_out_within_a_term_after_the_clock_stepped_back(redis: Redis) -> None:
    dead, living = LeaseTable(redis, "dead", ["w"], HOUR_S), LeaseTable(redis, "living", ["w"], 0.3)
    await dead.tick([], [])
    assert await dead.acquire([PAIR]) == [PAIR]

    async def taken() -> bool:
        await living.tick([], [])
        return await living.acquire([PAIR]) == [PAIR]

    await until(taken, within_s=5)
    assert (await living.tick([PAIR], [])).members.keys() == {"living"}


async def test_a_living_owner_keeps_its_lease_when_the_clock_steps_back(redis: Redis) -> None:
    owner, other = LeaseTable(redis, "owner", ["w"], 30), LeaseTable(redis, "other", ["w"], 30)
    await owner.tick([], [])
    await owner.acquire([PAIR])
    ahead = int((time.time() + HOUR_S) * 1000)
    await asyncio.gather(
        redis.zadd(MEMBERS, {"owner|w": ahead}),
        cast("asyncio.Future[int]", redis.hset(LEASES, "w/1", f"owner|{ahead}")),
    )
    seen = await other.tick([], [])
    assert (dict(seen.owners), set(seen.members)) == ({PAIR: "owner"}, {"owner", "other"})
    assert await other.acquire([PAIR]) == []
    assert (await owner.tick([PAIR], [])).owners == {PAIR: "owner"}
