"""The rate limiter without Redis: what it falls back to, and its waits, on a clock of our own."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from adapters.redis.limits import RateLimiter
from adapters.redis.streams import client
from schemas.errors import Transient

SCOPE = "cgb:account"


class Clock:
    """Seconds that pass only in sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limiter(
    clock: Clock, per_minute: int | None, *, redis: Redis | None = None, max_wait_s: float = 30.0
) -> RateLimiter:
    return RateLimiter(redis, per_minute=per_minute, max_wait_s=max_wait_s, clock=clock, sleep=clock.sleep)


async def test_no_rolling_minute_holds_more_than_the_amount(clock: Clock) -> None:
    limit = limiter(clock, 3, max_wait_s=100)
    taken = []
    for _ in range(10):
        await limit.acquire(SCOPE)
        taken.append(clock.now)
        clock.now += 7
    assert all(later - earlier >= 60 for earlier, later in zip(taken, taken[3:], strict=False))
    assert len(clock.slept) <= 9


async def test_a_wait_that_is_too_long_is_transient_at_once(clock: Clock) -> None:
    limit = limiter(clock, 1)
    await limit.acquire(SCOPE)
    with pytest.raises(Transient) as caught:
        await limit.acquire(SCOPE)
    assert caught.value.limited
    assert caught.value.retry_after_s == pytest.approx(60)
    assert clock.slept == []


@pytest.mark.parametrize("per_minute", [None, 0])
async def test_no_amount_is_no_limit_and_no_round_trip(clock: Clock, per_minute: int | None) -> None:
    limit = limiter(clock, per_minute, redis=Redis(host="127.0.0.1", port=1))
    for _ in range(1000):
        await limit.acquire(SCOPE)
    assert clock.slept == []


@pytest.mark.parametrize("per_minute", [None, 90])
async def test_a_pause_is_waited_for_and_scopes_are_apart(clock: Clock, per_minute: int | None) -> None:
    limit = limiter(clock, per_minute)
    await limit.pause(SCOPE, 12)
    await limit.acquire("other")
    assert clock.slept == []
    await limit.acquire(SCOPE)
    assert clock.slept == [pytest.approx(12)]


async def test_refusals_that_name_no_time_double_the_pause_to_a_minute_and_are_forgotten(clock: Clock) -> None:
    limit = limiter(clock, 90, max_wait_s=100)
    for seconds in (4, 8, 16, 32, 60, 60):
        clock.slept.clear()
        await limit.pause(SCOPE, None)
        await limit.pause(SCOPE, None)  # a second call refused in the same moment
        await limit.acquire(SCOPE)
        assert clock.slept == [pytest.approx(seconds)]
    clock.now += 120
    clock.slept.clear()
    await limit.pause(SCOPE, None)
    await limit.acquire(SCOPE)
    assert clock.slept == [pytest.approx(4)]


async def test_a_shorter_pause_does_not_shorten_a_longer_one(clock: Clock) -> None:
    limit = limiter(clock, 90)
    await limit.pause(SCOPE, 20)
    await limit.pause(SCOPE, 1)
    await limit.acquire(SCOPE)
    assert clock.slept == [pytest.approx(20)]


async def test_an_unreachable_redis_fails_no_call_and_the_process_limits_itself(clock: Clock) -> None:
    away = client("redis://127.0.0.1:1", timeout_s=0.5)
    limit = limiter(clock, 2, redis=away)
    await limit.acquire(SCOPE)
    await limit.acquire(SCOPE)
    with pytest.raises(Transient):
        await limit.acquire(SCOPE)
    await limit.pause("other", 5)
    await limit.acquire("other")
    assert clock.slept == [pytest.approx(5)]
    await away.aclose()


async def test_scopes_that_nothing_is_known_of_are_forgotten(clock: Clock) -> None:
    limit = limiter(clock, 1)
    await limit.pause("paused", 3000)
    for i in range(10_000):
        await limit.acquire(f"recipient:{i}")
        clock.now += 0.05
    assert len(limit._scopes) <= 4096
    with pytest.raises(Transient):
        await limit.acquire("paused")
