"""The rate limiter without Redis: what it falls back to, and its waits, on a clock of the test."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from redis.asyncio import Redis

from adapters.redis.limit_line import Scope, ticket
from adapters.redis.limits import RateLimiter, Ticket
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
async def test_without_an_amount_there_is_no_limit_and_no_round_trip(clock: Clock, per_minute: int | None) -> None:
    limit = limiter(clock, per_minute, redis=Redis(host="127.0.0.1", port=1))
    for _ in range(1000):
        await limit.acquire(SCOPE)
    assert clock.slept == []


@pytest.mark.parametrize("per_minute", [None, 90])
async def test_a_pause_is_waited_for_and_scopes_are_independent(clock: Clock, per_minute: int | None) -> None:
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


async def test_a_place_is_taken_at_once_or_a_ticket_is_called_in_its_turn() -> None:
    limit = RateLimiter(None, per_minute=1, window_s=0.1)
    assert await limit.take(SCOPE) is None
    tickets = [await limit.take(SCOPE) for _ in range(5)]
    served: list[int] = []

    async def wait_for_it(number: int, ticket: Ticket | None) -> None:
        while ticket is not None:
            await ticket.called
            ticket = await limit.take(SCOPE, ticket)
        served.append(number)

    waiting = [asyncio.create_task(wait_for_it(n, ticket)) for n, ticket in enumerate(tickets)]
    late = await limit.take(SCOPE)  # comes while others stand in line
    waiting.append(asyncio.create_task(wait_for_it(5, late)))
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)
    assert served == [0, 1, 2, 3, 4, 5]
    assert await limit.take("other") is None


async def test_a_ticket_whose_holder_left_or_does_not_come_delays_the_next_one_only_briefly() -> None:
    limit = RateLimiter(None, per_minute=2, window_s=0.1)
    for _ in range(2):
        assert await limit.take(SCOPE) is None
    left, absent, last = [await limit.take(SCOPE) for _ in range(3)]
    assert left is not None
    assert absent is not None
    assert last is not None
    left.called.cancel()
    async with asyncio.timeout(10):
        await last.called  # although the holder of the one before never asked
        assert absent.called.done()
        assert await limit.take(SCOPE, last) is None


async def test_bulk_leaves_room_for_live_and_is_spread_over_the_window(clock: Clock) -> None:
    limit = limiter(clock, 4)
    taken: dict[str, list[float]] = {"live": [], "bulk": []}
    for step in range(48):
        if await limit.take(SCOPE, priority="bulk") is None:
            taken["bulk"].append(clock.now)
        if step == 24 and await limit.take(SCOPE) is None:
            taken["live"].append(clock.now)
        clock.now += 5
    assert len(taken["live"]) == 1
    assert all(later - earlier >= 15 for earlier, later in zip(taken["bulk"][1:], taken["bulk"][2:], strict=False))


async def test_a_pause_holds_the_line_and_nothing_sleeps(clock: Clock) -> None:
    limit = limiter(clock, 90)
    await limit.pause(SCOPE, 30)
    first, second = await limit.take(SCOPE), await limit.take(SCOPE)
    assert first is not None
    assert second is not None
    assert first < second
    assert clock.slept == []
    first.called.cancel()
    second.called.cancel()


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


async def test_an_outage_of_redis_is_one_line_of_the_log(clock: Clock) -> None:
    away = client("redis://127.0.0.1:1", timeout_s=0.5)
    limit = limiter(clock, 50, redis=away)
    with structlog.testing.capture_logs() as said:
        await asyncio.gather(*(limit.acquire(SCOPE) for _ in range(20)))
        clock.now += 60
        await limit.acquire(SCOPE)
    await away.aclose()
    assert [line["event"] for line in said] == ["limits.in_process"]


async def test_scopes_without_places_and_pauses_are_forgotten(clock: Clock) -> None:
    limit = limiter(clock, 1)
    await limit.pause("paused", 3000)  # which is five minutes
    for i in range(10_000):
        await limit.acquire(f"recipient:{i}")
        clock.now += 0.025
    assert len(limit._scopes) <= 4096
    with pytest.raises(Transient):
        await limit.acquire("paused")


def test_a_place_that_is_due_at_once_is_called_on_every_event_loop() -> None:
    """uvloop's handle of a call without a delay does not tell when it fires."""
    uvloop = pytest.importorskip("uvloop")

    async def two_at_once() -> None:
        scope, calls = Scope(), [ticket(SCOPE, "live", 0.0) for _ in range(2)]
        for mine in calls:
            mine.due = 0.0
            scope.stand(mine)
            scope.arm(1.0, lambda: scope.call(1.0))
        await asyncio.gather(*(mine.called for mine in calls))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(two_at_once())
