"""The line of those that wait for a place: one for all processes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from adapters.redis import client as redis_client
from adapters.redis import limits
from adapters.redis.limits import Priority, RateLimiter, Ticket
from tests.support.limited_caller import caller, most_in_a_window, out_of_order, places
from tests.support.until import until


@pytest.fixture
def scope() -> str:
    return f"test:{uuid4().hex}"


@pytest.fixture
async def clients(redis_url: str) -> AsyncIterator[list[Redis]]:
    """Two clients, as two processes have."""
    made = [redis_client.client(redis_url, timeout_s=5) for _ in range(2)]
    yield made
    for client in made:
        await client.aclose()


def limiters(clients: list[Redis], per_minute: int, window_s: float) -> list[RateLimiter]:
    return [RateLimiter(client, per_minute=per_minute, window_s=window_s) for client in clients]


async def served(limiter: RateLimiter, scope: str, ticket: Ticket | None, priority: Priority = "live") -> float:
    """When the holder of *ticket* has its place; it comes as soon as it is called."""
    async with asyncio.timeout(30):
        while ticket is not None:
            await ticket.called
            ticket = await limiter.take(scope, ticket, priority)
    return time.monotonic()


async def use_up(limiter: RateLimiter, scope: str, amount: int) -> list[float]:
    for _ in range(amount):
        assert await limiter.take(scope) is None
    return [time.monotonic()] * amount


async def test_the_order_of_arrival_is_the_order_of_service_over_two_processes(
    redis_url: str, redis: Redis, scope: str
) -> None:
    rng = random.Random(9)
    async with (
        caller(redis_url, per_minute=20, window_s=1) as one,
        caller(redis_url, per_minute=20, window_s=1) as two,
        places(redis, scope) as given,
    ):
        names = [f"{n:03d}" for n in range(80)]
        for name in names:
            await rng.choice((one, two)).call(scope, name)
        await until(lambda: len(one.served) + len(two.served) == len(names), within_s=30)
        at = one.served | two.served
    assert not out_of_order(names, at)
    assert len(given) == len(names)
    assert most_in_a_window(given, 1) <= 20


async def test_a_call_has_its_place_when_it_was_told_and_at_its_first_asking(
    clients: list[Redis], scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOOK_S", 0.1)
    first, second = limiters(clients, 10, 1)
    await use_up(first, scope, 10)
    tickets = [await limiter.take(scope) for _ in range(15) for limiter in (first, second)]
    asked = 0
    for limiter, ticket in zip([first, second] * 15, tickets, strict=True):
        assert ticket is not None
        await ticket.called
        assert time.monotonic() - ticket.due < 0.2
        asked += 1
        assert await limiter.take(scope, ticket) is None
    assert asked == 30


async def test_what_comes_while_others_wait_takes_no_place_before_them(clients: list[Redis], scope: str) -> None:
    first, second = limiters(clients, 1, 0.4)
    await use_up(first, scope, 1)
    waits = await first.take(scope)
    assert waits is not None
    await waits.called
    late = await second.take(scope)  # the place is there, and is the other's
    assert late is not None
    assert await first.take(scope, waits) is None
    await served(second, scope, late)


async def test_a_call_that_gives_up_loses_its_own_place_alone(
    clients: list[Redis], scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOOK_S", 0.2)
    first, second = limiters(clients, 10, 2)
    began = (await use_up(first, scope, 10))[0]
    leave = [await first.take(scope) for _ in range(30)]
    stay = await second.take(scope)
    assert stay is not None
    assert stay.due - began > 7  # behind thirty
    for ticket in leave:
        assert ticket is not None
        ticket.called.cancel()
    assert await served(second, scope, stay) - began < 3


async def test_a_call_that_was_called_and_does_not_come_holds_up_no_other_and_keeps_its_turn(
    clients: list[Redis], scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOOK_S", 0.3)
    first, second = limiters(clients, 4, 1)
    began = (await use_up(first, scope, 4))[0]
    absent = await first.take(scope)
    others = [await second.take(scope) for _ in range(8)]
    last = await asyncio.gather(*(served(second, scope, ticket) for ticket in others))
    assert max(last) - began < 4
    assert absent is not None
    assert absent.called.done()
    behind = [await second.take(scope) for _ in range(8)]
    assert behind[-1] is not None
    mine = await first.take(scope, absent)
    assert mine is None or mine.due < behind[-1].due
    await asyncio.gather(served(first, scope, mine), *(served(second, scope, ticket) for ticket in behind))


async def test_no_place_is_lost_after_a_kill_of_a_process_that_has_calls_in_line(
    redis_url: str, redis: Redis, scope: str
) -> None:
    """Promise: within the time in which a process counts as dead, and one look, the others have caught up."""
    settings = {"per_minute": 20, "window_s": 2, "look_s": 0.2, "silent_s": 0.6}
    async with (
        caller(redis_url, **settings) as lives,
        caller(redis_url, **settings) as dies,
        places(redis, scope) as given,
    ):
        for n in range(20):
            await lives.call(scope, f"first {n}")
        for n in range(30):
            await dies.call(scope, f"dead {n}")
        for n in range(20):
            await lives.call(scope, f"last {n}")
        await until(lambda: len(dies.served) > 0, within_s=10)
        await dies.kill()
        killed_at = time.monotonic()
        await until(lambda: len(lives.served) == 40, within_s=20)
        done_s = max(lives.served.values()) - killed_at
    assert done_s < 20 / 20 * 2 + 0.6 + 0.2 + 0.5  # with the dead one's places before theirs it would be 5 s
    assert most_in_a_window(given, 2) <= 20


async def test_a_pause_shifts_all_that_wait_and_turns_no_order_about(redis_url: str, redis: Redis, scope: str) -> None:
    settings = {"per_minute": 20, "window_s": 1, "look_s": 0.2}
    async with caller(redis_url, **settings) as one, caller(redis_url, **settings) as two:
        names = [f"{n:03d}" for n in range(50)]
        for n, name in enumerate(names):
            await (one, two)[n % 2].call(scope, name)
        await until(lambda: len(one.served) + len(two.served) >= 25, within_s=10)
        await RateLimiter(redis, per_minute=20, window_s=1).pause(scope, 1.5)
        paused_at = time.monotonic()
        await until(lambda: len(one.served) + len(two.served) == len(names), within_s=20)
        at = one.served | two.served
    assert not out_of_order(names, at)
    assert not [name for name in names if paused_at + 0.05 < at[name] < paused_at + 1.4]


async def test_clocks_of_processes_that_differ_by_hours_change_nothing(
    redis_url: str, redis: Redis, scope: str
) -> None:
    settings = {"per_minute": 10, "window_s": 0.5}
    async with (
        caller(redis_url, **settings, clock_ahead_s=14_400) as ahead,
        caller(redis_url, **settings) as behind,  # a monotonic clock begins at the start of its host, and never below 0
        places(redis, scope) as given,
    ):
        names = [f"{n:03d}" for n in range(40)]
        for n, name in enumerate(names):
            await (ahead, behind)[n % 2].call(scope, name)
        await until(lambda: len(ahead.served) + len(behind.served) == len(names), within_s=20)
        at = ahead.served | behind.served
    assert not out_of_order(names, at)
    assert most_in_a_window(given, 0.5) <= 10
