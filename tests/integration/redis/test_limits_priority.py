"""Live calls before bulk, and the window as it must hold whatever comes when."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from adapters.redis import client as redis_client
from adapters.redis import limits
from adapters.redis.limit_line import room_of_bulk
from adapters.redis.limits import RateLimiter, Ticket
from tests.support.limited_caller import caller, out_of_order
from tests.support.until import until


@pytest.fixture
def scope() -> str:
    return f"test:{uuid4().hex}"


async def test_bulk_makes_no_live_call_wait_for_longer_than_a_spacing(redis_url: str, redis: Redis, scope: str) -> None:
    """Live calls come one by one while bulk of two processes takes all that it may."""
    settings = {"per_minute": 50, "window_s": 2}
    limiter = RateLimiter(redis, per_minute=50, window_s=2)
    waits: list[float] = []
    async with caller(redis_url, **settings) as one, caller(redis_url, **settings) as two:
        for n in range(150):
            await (one, two)[n % 2].call(scope, f"bulk {n}", "bulk")
        await until(lambda: len(one.served) + len(two.served) >= 55)  # more than a window: it is full of bulk
        for _ in range(20):
            began = time.monotonic()
            ticket = await limiter.take(scope)
            while ticket is not None:
                await ticket.called
                ticket = await limiter.take(scope, ticket)
            waits.append(time.monotonic() - began)
            await asyncio.sleep(0.1)
        went_on = len(one.served) + len(two.served)
    assert max(waits) <= 2 / 50 + 0.05  # the spacing, and what the machine needs
    assert went_on > 60


async def test_no_bulk_is_served_while_a_live_call_waits(redis_url: str, scope: str) -> None:
    settings = {"per_minute": 20, "window_s": 1}
    async with caller(redis_url, **settings) as one, caller(redis_url, **settings) as two:
        for n in range(60):
            await (one, two)[n % 2].call(scope, f"bulk {n}", "bulk")
        for n in range(60):
            await (one, two)[n % 2].call(scope, f"live {n:02d}")
        began = time.monotonic()
        await until(lambda: len(one.served) + len(two.served) == 120)
        at = one.served | two.served
    assert not out_of_order([f"live {n:02d}" for n in range(60)], at)
    assert not [n for n in at if n.startswith("bulk") and began + 0.05 < at[n] < at["live 59"] - 0.1]


async def test_bulk_that_waits_is_served_in_the_order_in_which_it_came(redis_url: str, scope: str) -> None:
    settings = {"per_minute": 20, "window_s": 1}
    async with caller(redis_url, **settings) as one, caller(redis_url, **settings) as two:
        names = [f"{n:02d}" for n in range(50)]
        for n, name in enumerate(names):
            await (one, two)[n % 2].call(scope, name, "bulk")
        await until(lambda: len(one.served) + len(two.served) == 50)
        at = one.served | two.served
    assert not out_of_order(names, at)


class Clock:
    """Seconds that the test sets: of the server, and of the processes."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


AMOUNT = 6
WINDOW_S = 60.0
STEPS = st.one_of(
    st.tuples(st.just("pass"), st.floats(0, 25)),
    st.tuples(st.just("call"), st.tuples(st.integers(0, 1), st.sampled_from(["live", "live", "bulk"]))),
    st.tuples(st.just("come"), st.integers(0, 30)),
    st.tuples(st.just("leave"), st.integers(0, 30)),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=st.lists(STEPS, min_size=20, max_size=120))
def test_no_window_holds_more_than_the_amount_whatever_comes_when(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, Any]]
) -> None:
    """Promise: calls come, come again early, in time, late or never; of bulk less than the amount."""
    scope = f"test:{uuid4().hex}"
    fake = f"{{{scope}}}:clock"
    ticking = f"{{redis.call('GET', '{fake}'), 0}}"
    with monkeypatch.context() as patch:
        for name in ("TAKE", "LOOK", "RESTORE"):
            patch.setattr(limits, name, getattr(limits, name).replace("redis.call('TIME')", ticking))
        asyncio.run(_walk(redis_url, scope, fake, steps))


async def _walk(redis_url: str, scope: str, fake: str, steps: list[tuple[str, Any]]) -> None:
    clock = Clock()
    client = redis_client.client(redis_url, timeout_s=5)
    both = [RateLimiter(client, per_minute=AMOUNT, window_s=WINDOW_S, clock=clock) for _ in range(2)]
    waiting: list[tuple[int, Ticket]] = []
    given_at: list[tuple[float, str]] = []

    async def ask(which: int, ticket: Ticket | None, priority: limits.Priority) -> None:
        await client.set(fake, f"{clock.now:.6f}", px=20_000)
        ticket = await both[which].take(scope, ticket, priority)
        if ticket is None:
            given_at.append((clock.now, priority))
        else:
            waiting.append((which, ticket))

    for what, how in steps:
        if what == "pass":
            clock.now += how
        elif what == "call":
            await ask(how[0], None, how[1])
        elif waiting:
            which, ticket = waiting.pop(how % len(waiting))
            if what == "come":
                await ask(which, ticket, ticket.priority)
            else:
                ticket.called.cancel()
    for limiter in both:
        limiter.close()
    await client.aclose()
    bulk = [at for at, priority in given_at if priority == "bulk"]
    _check([at for at, _ in given_at], AMOUNT)
    _check(bulk, room_of_bulk(AMOUNT))


def _check(times: list[float], most: int) -> None:
    assert all(later - earlier > WINDOW_S - 0.001 for earlier, later in zip(times, times[most:], strict=False))
