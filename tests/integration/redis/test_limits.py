"""The rate limiter over a real server: what processes share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from adapters.redis import client as redis_client
from adapters.redis import limits, pauses
from adapters.redis.limits import RateLimiter
from schemas.errors import Transient


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


def limiters(
    clients: list[Redis], per_minute: int, *, window_s: float = 60.0, max_wait_s: float = 30.0
) -> list[RateLimiter]:
    return [RateLimiter(client, per_minute=per_minute, window_s=window_s, max_wait_s=max_wait_s) for client in clients]


async def test_processes_together_never_exceed_the_amount_in_any_window(clients: list[Redis], scope: str) -> None:
    both = limiters(clients, 5, window_s=0.5, max_wait_s=60)
    taken: list[float] = []

    async def take(limiter: RateLimiter) -> None:
        await limiter.acquire(scope)
        taken.append(time.monotonic())

    await asyncio.gather(*(take(both[i % 2]) for i in range(20)))
    taken.sort()
    slack_s = 0.05  # between the server's giving a place and our noting it
    assert all(later - earlier >= 0.5 - slack_s for earlier, later in zip(taken, taken[5:], strict=False))


async def test_what_one_process_took_the_other_has_not(clients: list[Redis], scope: str) -> None:
    first, second = limiters(clients, 3, max_wait_s=1)
    for _ in range(3):
        await first.acquire(scope)
    with pytest.raises(Transient) as caught:
        await second.acquire(scope)
    assert caught.value.limited
    assert caught.value.retry_after_s == pytest.approx(60, abs=2)


async def test_a_pause_of_one_process_holds_the_other(clients: list[Redis], scope: str) -> None:
    first, second = limiters(clients, 90, max_wait_s=1)
    await first.pause(scope, 20)
    with pytest.raises(Transient) as caught:
        await second.acquire(scope)
    assert caught.value.retry_after_s == pytest.approx(20, abs=2)
    await second.acquire(f"{scope}:other")


async def test_a_pause_is_five_minutes_at_most_and_whoever_lifts_it_is_followed_by_all(
    clients: list[Redis], scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOOK_S", 0.2)
    first, second = limiters(clients, 90, max_wait_s=1)
    await first.pause(scope, 3600)
    assert await pauses.seconds_left(clients[1], scope) == pytest.approx(limits.LONGEST_ASKED_S, abs=2)
    tickets = [await limiter.take(scope) for limiter in (first, second)]
    assert all(ticket is not None for ticket in tickets)
    assert await pauses.lift(clients[1], scope)
    assert not await pauses.lift(clients[1], scope)
    assert await pauses.seconds_left(clients[1], scope) == 0
    for limiter, ticket in zip((first, second), tickets, strict=True):
        assert ticket is not None
        async with asyncio.timeout(5):
            while ticket is not None:
                await ticket.called
                ticket = await limiter.take(scope, ticket)


async def test_refusals_without_a_time_double_over_all_processes(clients: list[Redis], scope: str) -> None:
    waits: list[float | None] = []
    for i in range(6):
        limiter = limiters(clients, 90, max_wait_s=0.1)[i % 2]
        await limiter.pause(scope, None)
        with pytest.raises(Transient) as caught:
            await limiter.acquire(scope)
        waits.append(caught.value.retry_after_s)
        await clients[0].delete(f"ferryman:pause:{{{scope}}}")  # as if it had run out
    assert waits == [pytest.approx(seconds, abs=0.5) for seconds in (4, 8, 16, 32, 60, 60)]


async def test_an_ordinary_call_costs_one_round_trip_and_a_paused_one_none(clients: list[Redis], scope: str) -> None:
    first, second = limiters(clients, 90, max_wait_s=0.1)

    async def commands() -> int:
        nodes = await redis_client.server_of(clients[1]).ask_each("INFO", "commandstats")
        return sum(
            int(info.get(f"cmdstat_{name}", {}).get("calls", 0)) for info in nodes for name in ("eval", "evalsha")
        )

    await first.acquire(scope)
    await second.pause(scope, 0.001)  # the scope's server knows both scripts
    await first.acquire(scope)  # the pause is over
    before = await commands()
    for _ in range(10):
        await first.acquire(scope)
    assert await commands() - before == 10
    await second.pause(scope, 30)
    for _ in range(5):
        with pytest.raises(Transient):
            await first.acquire(scope)
    assert await commands() - before == 12  # ten places, one pause, one look that learned of it


async def test_the_keys_go_away_by_themselves(clients: list[Redis], scope: str) -> None:
    limiter = limiters(clients, 2)[0]
    await limiter.acquire(scope)
    await limiter.pause(scope, None)
    keys = [key async for key in clients[0].scan_iter(match=f"ferryman:*{scope}*")]
    assert len(keys) == 4
    assert all([0 < await clients[0].pttl(key) <= 300_000 for key in keys])
