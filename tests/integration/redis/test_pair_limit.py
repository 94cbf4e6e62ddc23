"""How often one account may write to one person, on a real server: bursts that are paid for, refusals, other pairs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from adapters.redis.pair_limit import Pace, PairLimit

LINE = "+972505550142"
OTHER = "+972505550143"


async def test_a_burst_is_paid_for_before_the_next_one(redis: Redis) -> None:
    pair = PairLimit(redis, Pace(6.0, 45, 5.0))
    assert [await pair.wait_s("meta:default", LINE, str(n)) for n in range(45)] == [0.0] * 45
    assert 45 * 6 - 2 < await pair.wait_s("meta:default", LINE, "45") <= 45 * 6


async def test_a_burst_ends_with_its_time(redis: Redis) -> None:
    pair = PairLimit(redis, Pace(0.4, 45, 0.1))
    assert await pair.wait_s("meta:default", LINE, "1") == await pair.wait_s("meta:default", LINE, "2") == 0
    await asyncio.sleep(0.15)
    wait = await pair.wait_s("meta:default", LINE, "3")
    assert 0.4 < wait < 0.7
    await asyncio.sleep(wait)
    assert await pair.wait_s("meta:default", LINE, "3") == 0


async def test_other_people_and_other_accounts_are_not_held_up(redis: Redis) -> None:
    pair = PairLimit(redis, Pace(6.0, 1, 5.0))
    assert await pair.wait_s("meta:default", LINE, "1") == 0
    assert await pair.wait_s("meta:default", LINE, "2") > 5
    assert await pair.wait_s("meta:default", OTHER, "3") == 0
    assert await pair.wait_s("meta:second", LINE, "4") == 0


async def test_what_was_let_through_is_let_through_again_and_counts_once(redis: Redis) -> None:
    one, two = (PairLimit(redis, Pace(6.0, 2, 5.0)) for _ in range(2))
    assert [await one.wait_s("meta:default", LINE, "1") for _ in range(5)] == [0] * 5
    assert await two.wait_s("meta:default", LINE, "1") == 0, "after its lane has moved to another process"
    assert await two.wait_s("meta:default", LINE, "2") == 0
    assert await two.wait_s("meta:default", LINE, "3") > 11


async def test_a_refusal_holds_the_pair_four_times_as_long_each_time(redis: Redis) -> None:
    pair = PairLimit(redis, Pace(6.0, 45, 5.0))
    await pair.wait_s("meta:default", LINE, "1")
    assert [await pair.refused("meta:default", LINE, "1") for _ in range(6)] == [1, 4, 16, 64, 256, 256]
    assert 255 < await pair.wait_s("meta:default", LINE, "1") <= 256
    assert await pair.refused("meta:default", LINE, "2") == 1, "another message begins anew"
    assert 0 < await pair.wait_s("meta:default", LINE, "2") <= 1


async def test_no_phone_is_in_a_key(redis: Redis) -> None:
    await PairLimit(redis, Pace(6.0, 45, 5.0)).wait_s("meta:default", LINE, "1")
    (key,) = await redis.keys("*")
    assert b"5550142" not in key
    assert 0 < await redis.pttl(key) < 700_000


async def test_without_redis_the_provider_s_own_refusals_slow_the_pair() -> None:
    away = Redis(host="127.0.0.1", port=1)
    pair = PairLimit(away, Pace(6.0, 1, 5.0))
    assert [await pair.wait_s("meta:default", LINE, str(n)) for n in range(3)] == [0, 0, 0]
    assert await pair.refused("meta:default", LINE, "1") == 6
    await away.aclose()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(pauses=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.03]), min_size=5, max_size=25))
@pytest.mark.parametrize("burst", [1, 4])
async def test_whenever_messages_come_the_pace_is_kept(redis: Redis, burst: int, pauses: Sequence[float]) -> None:
    """Any run of messages takes at least as long as its spacings, less one burst."""
    await redis.flushdb()
    spacing, burst_s = 0.02, 0.01
    pair = PairLimit(redis, Pace(spacing, burst, burst_s))
    went: list[float] = []
    for n, pause in enumerate(pauses):
        await asyncio.sleep(pause)
        while (wait := await pair.wait_s("meta:default", LINE, str(n))) > 0:
            await asyncio.sleep(wait)
        went.append(time.monotonic())
    slack = 0.005  # between Redis's clock, in whole milliseconds, and ours
    for first in range(len(went)):
        for last in range(first + burst, len(went)):
            assert went[last] - went[first] >= (last - first - burst + 1) * spacing - burst_s - slack
