"""A limit that a refusal has eased, on a real server: for all processes, growing back, never below one a second."""

from __future__ import annotations

from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from adapters.redis import pauses
from adapters.redis.eased import allowed, in_force
from adapters.redis.limit_scripts import REGAINED_S, key
from adapters.redis.limits import RateLimiter


@pytest.fixture
def scope() -> str:
    return f"test:{uuid4().hex}"


def limiter(redis: Redis, amount: int, window_s: float) -> RateLimiter:
    return RateLimiter(redis, per_minute=amount, window_s=window_s)


async def refused(redis: Redis, scope: str, amount: int, window_s: float, *, named_s: float | None = None) -> None:
    """The other side refuses a call, and the pause after it is over."""
    await limiter(redis, amount, window_s).pause(scope, named_s)
    await redis.delete(key("pause", scope))


async def later(redis: Redis, scope: str, seconds: float) -> None:
    """So many seconds pass."""
    client = cast("Any", redis)
    at = int(await client.hget(key("eased", scope), "at"))
    await client.hset(key("eased", scope), "at", at - round(seconds * 1e6))


async def places(redis: Redis, scope: str, amount: int, window_s: float) -> int:
    """How many calls of another process get a place at once."""
    other, got = limiter(redis, amount, window_s), 0
    while await other.take(scope) is None:
        got += 1
    return got


@pytest.mark.parametrize("named_s", [None, 2.0])
async def test_a_refusal_halves_the_limit_for_every_process(redis: Redis, scope: str, named_s: float | None) -> None:
    await refused(redis, scope, 80, 30.0, named_s=named_s)
    assert await in_force(redis, scope, 80, 30.0) == 40
    assert await places(redis, scope, 80, 30.0) == 40


async def test_calls_that_are_refused_together_halve_it_once(redis: Redis, scope: str) -> None:
    for _ in range(5):
        await limiter(redis, 80, 1.0).pause(scope, None)
    assert await in_force(redis, scope, 80, 1.0) == 40


async def test_it_grows_back_by_the_clock_and_is_whole_again(redis: Redis, scope: str) -> None:
    await refused(redis, scope, 80, 1.0)
    found = []
    for _ in range(6):
        await later(redis, scope, REGAINED_S / 8)
        found.append(await in_force(redis, scope, 80, 1.0))
    assert found == [50, 60, 70, 80, 80, 80]
    assert 0 < await redis.pttl(key("eased", scope)) <= REGAINED_S * 1000, "and is forgotten"


async def test_refusals_one_after_the_other_leave_one_a_second(redis: Redis, scope: str) -> None:
    for _ in range(10):
        await refused(redis, scope, 80, 1.0)
    assert await in_force(redis, scope, 80, 1.0) == 1
    assert await places(redis, scope, 80, 1.0) == 1


async def test_a_limit_of_less_than_one_a_second_stays(redis: Redis, scope: str) -> None:
    await refused(redis, scope, 20, 60.0)
    assert await in_force(redis, scope, 20, 60.0) == 20


async def test_who_lifts_the_pause_has_the_whole_limit(redis: Redis, scope: str) -> None:
    await limiter(redis, 80, 1.0).pause(scope, None)
    assert await pauses.lift(redis, scope)
    assert await in_force(redis, scope, 80, 1.0) == 80


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    amount=st.integers(1, 200),
    window_s=st.sampled_from([10.0, 60.0]),
    steps=st.lists(st.one_of(st.none(), st.floats(0.0, REGAINED_S)), max_size=8),
)
async def test_what_the_server_gives_is_what_the_rule_says(
    redis: Redis, amount: int, window_s: float, steps: list[float | None]
) -> None:
    """None: a refusal; a number: seconds that pass."""
    scope = f"test:{uuid4().hex}"  # the limiters of the example before go on for a while
    cut, elapsed = float(amount), 0.0
    for step in steps:
        if step is None:
            now = allowed(amount, window_s, cut, elapsed)
            least = min(amount, int(window_s))
            cut, elapsed = float(max(least, now // 2)), 0.0
            await refused(redis, scope, amount, window_s)
        elif await redis.exists(key("eased", scope)):
            elapsed += step
            await later(redis, scope, step)
    wanted = allowed(amount, window_s, cut, elapsed)
    assert min(amount, window_s) <= wanted <= amount
    assert await in_force(redis, scope, amount, window_s) == pytest.approx(wanted, abs=1)
    assert await places(redis, scope, amount, window_s) == pytest.approx(wanted, abs=1)
