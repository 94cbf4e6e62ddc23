"""Locks that processes share, on a real server: one holder at a time, and none for longer than it lives."""

from __future__ import annotations

import asyncio
import time

import pytest
from redis.asyncio import Redis

from adapters.redis import client
from adapters.redis.locks import Held, Locks
from schemas.errors import StoreAway
from tests.support.until import until

NAME = "chatwoot:3:phone:+972505550142"


async def test_one_holds_at_a_time_and_all_have_their_turn(redis: Redis) -> None:
    inside, most, turns = 0, 0, 0

    async def work(locks: Locks) -> None:
        nonlocal inside, most, turns
        async with locks.hold(NAME):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.002)
            inside -= 1
            turns += 1

    processes = [Locks(redis) for _ in range(3)]
    await asyncio.gather(*(work(processes[n % 3]) for n in range(30)))
    assert (most, turns) == (1, 30)


async def test_other_names_are_not_waited_for(redis: Redis) -> None:
    locks = Locks(redis, wait_s=0.0)
    async with locks.hold("one"), locks.hold("two"):
        pass


async def test_the_lock_of_one_that_was_killed_ends_by_itself(redis: Redis) -> None:
    killed = Locks(redis, ttl_s=0.4)
    holding = asyncio.create_task(_hold_for_ever(killed))
    await until(lambda: _held(redis))
    [renewing] = [task for task in asyncio.all_tasks() if "_renew" in repr(task.get_coro())]
    renewing.cancel()  # as all of its process: nothing puts the end off any more, and nothing is given back
    began = time.monotonic()
    async with Locks(redis).hold(NAME):
        assert 0.05 < time.monotonic() - began < 5
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


async def test_a_holder_that_works_for_longer_keeps_its_lock(redis: Redis) -> None:
    async with Locks(redis, ttl_s=0.3).hold(NAME):
        await asyncio.sleep(0.7)
        with pytest.raises(Held, match="another process"):
            async with Locks(redis, wait_s=0.1).hold(NAME):
                pass
    async with Locks(redis, wait_s=0.0).hold(NAME):
        pass


async def test_one_that_lost_its_lock_takes_nothing_from_the_next_holder(redis: Redis) -> None:
    first, second = Locks(redis, ttl_s=60), Locks(redis, ttl_s=60)
    async with first.hold(NAME):
        await redis.flushdb()  # as a failover may lose it
        entered = second.hold(NAME)
        await entered.__aenter__()
    assert await redis.keys("ferryman:lock:*"), "the second one's"
    await entered.__aexit__(None, None, None)
    assert not await redis.keys("ferryman:lock:*")


async def test_an_error_inside_gives_the_lock_back(redis: Redis) -> None:
    with pytest.raises(RuntimeError):
        async with Locks(redis).hold(NAME):
            raise RuntimeError
    async with Locks(redis, wait_s=0.0).hold(NAME):
        assert not any(b"972505550142" in key for key in await redis.keys("*")), "no phone is in a key"


async def test_redis_that_is_away_is_said_before_the_work() -> None:
    away = client.client("redis://127.0.0.1:1/0", timeout_s=0.5)
    with pytest.raises(StoreAway, match="Redis does not answer"):
        async with Locks(away).hold(NAME):
            raise AssertionError
    await away.aclose()


async def _hold_for_ever(locks: Locks) -> None:
    async with locks.hold(NAME):
        await asyncio.Event().wait()


async def _held(redis: Redis) -> bool:
    return bool(await redis.keys("ferryman:lock:*"))
