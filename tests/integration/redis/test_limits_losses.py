"""A Redis that lost what it knew of the places, the pause and the line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from adapters.redis import client as redis_client
from adapters.redis import limits, pauses
from adapters.redis.limit_scripts import KINDS, key
from adapters.redis.limits import RateLimiter
from tests.support.limited_caller import caller, most_in_a_window, out_of_order, places
from tests.support.until import until


@pytest.fixture
def scope() -> str:
    return f"test:{uuid4().hex}"


@pytest.fixture
async def both(redis_url: str) -> AsyncIterator[list[RateLimiter]]:
    """The limiters of two processes: 90 a minute."""
    clients = [redis_client.client(redis_url, timeout_s=5) for _ in range(2)]
    yield [RateLimiter(client, per_minute=90) for client in clients]
    for client in clients:
        await client.aclose()


async def forget(redis: Redis, scope: str) -> None:
    """As a server that lost its data does."""
    await redis.delete(*(key(kind, scope) for kind in KINDS))


async def take(limiter: RateLimiter, scope: str, count: int) -> None:
    for _ in range(count):
        assert await limiter.take(scope) is None


async def test_a_process_that_knows_of_room_goes_on_at_the_pace_of_the_limit(
    redis: Redis, scope: str, both: list[RateLimiter]
) -> None:
    await take(both[0], scope, 10)
    await forget(redis, scope)
    began = time.monotonic()
    for _ in range(3):
        await both[0].acquire(scope)
    assert time.monotonic() - began < 3 * 60 / 90 + 0.5


async def test_what_another_process_took_and_has_yet_to_tell_is_left_room_for(
    redis: Redis, scope: str, both: list[RateLimiter]
) -> None:
    """Promise: until it is heard, no more than the pace of the limit is given above it."""
    for limiter in both:
        await take(limiter, scope, 45)
    await forget(redis, scope)
    tickets = [await limiter.take(scope) for limiter in (*both[:1] * 20, *both[1:] * 20)]
    assert tickets.count(None) <= 1
    assert await redis.zcard(key("taken", scope)) <= 91


async def test_a_process_that_calls_no_more_tells_its_places_by_itself(
    redis: Redis, scope: str, both: list[RateLimiter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOOK_S", 0.2)
    await take(both[0], scope, 80)
    await forget(redis, scope)

    async def told() -> bool:
        return int(await redis.zcard(key("taken", scope))) == 80

    await until(told)


async def test_a_pause_holds_after_it(
    redis: Redis, scope: str, both: list[RateLimiter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOOK_S", 0.2)
    await take(both[0], scope, 1)
    await both[0].pause(scope, 60)
    waits = await both[0].take(scope)
    await forget(redis, scope)

    async def told() -> bool:
        return await pauses.seconds_left(redis, scope) > 50

    await until(told)
    assert waits is not None
    waits.called.cancel()


@pytest.mark.parametrize("when", ["before the line", "while others wait"])
async def test_no_place_is_given_twice_and_no_order_turned_about(
    redis_url: str, redis: Redis, scope: str, when: str
) -> None:
    settings = {"per_minute": 20, "window_s": 3, "look_s": 0.3}
    async with (
        caller(redis_url, **settings) as one,
        caller(redis_url, **settings) as two,
        places(redis, scope) as given,
    ):
        names = [f"{n:03d}" for n in range(40)]
        for n, name in enumerate(names):
            if n == (20 if when == "before the line" else 35):
                await forget(redis, scope)
            await (one, two)[n % 2].call(scope, name)
        await until(lambda: len(one.served) + len(two.served) == len(names), within_s=20)
        at = one.served | two.served
    assert not out_of_order(names, at)
    assert most_in_a_window(given, 3) <= 20 + 1  # the second process was not heard yet
    assert max(at.values()) - min(at.values()) < 6


async def test_a_call_that_was_cancelled_on_its_way_does_not_stay_in_line(
    redis: Redis, scope: str, both: list[RateLimiter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOOK_S", 0.2)
    await take(both[0], scope, 90)
    stays = await both[0].take(scope)
    for steps in range(40):
        call = asyncio.create_task(both[0].take(scope))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        if (ticket := (await asyncio.gather(call, return_exceptions=True))[0]) and not isinstance(
            ticket, BaseException
        ):
            ticket.called.cancel()

    async def alone() -> bool:
        return int(await redis.zcard(key("live", scope))) == 1

    await until(alone)
    assert stays is not None
    stays.called.cancel()
