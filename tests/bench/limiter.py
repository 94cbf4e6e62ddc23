"""How much of a rate limit is used, by two processes: `python -m tests.bench.limiter [--json]` (150 s).

The limit is CGB's, 90 requests a minute: for 70 s as it is, and with a window of 6 s. More calls wait than have a
place. A call asks, waits until it is called, and asks again, as an event does in its lane. Used is how many places the
server gave, of those that the limit allows: a window's at once at the start, and one by one as they leave the window.
CGB's own limit is 100 in any 60 s; the bar is none above it, and ours is kept as well.

Bulk alone is measured over one window, after a first one. Live calls that come one by one while bulk takes what it may
wait for one spacing at most (90 a minute: 0.67 s). "wiped": Redis loses all of it while calls wait; these go on.

"place" is the time of a call that finds a free one: one round trip. "before" is the script of a list that this one
took the place of, over the same connection. Their times take turns.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from redis.asyncio import Redis

from adapters.redis import client as redis_client
from adapters.redis.limit_scripts import KINDS, key
from adapters.redis.limits import RateLimiter
from tests.bench.rig import Figure, main, stores
from tests.support.limited_caller import Caller, caller

LIVE: Final = 90
REAL_S: Final = 70.0
SCALED_S: Final = 6.0
WINDOWS: Final = 3
EACH: Final = 3000

_BEFORE: Final = """
local paused = redis.call('PTTL', KEYS[2])
if paused > 0 then return {2, paused} end
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local amount, window = tonumber(ARGV[1]), tonumber(ARGV[2]) * 1000
local oldest = tonumber(redis.call('LINDEX', KEYS[1], amount - 1) or '0')
if oldest > 0 and oldest + window > now then return {1, math.ceil((oldest + window - now) / 1000)} end
redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
redis.call('LTRIM', KEYS[1], 0, amount - 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {0, 0}
"""


class Run:
    """Two processes on one scope, and the places that the server gave them."""

    def __init__(self, redis: Redis, scope: str, callers: list[Caller]) -> None:
        self._redis = redis
        self._scope = scope
        self._callers = callers
        self._calls = 0
        self.given: dict[bytes, float] = {}

    async def call(self, count: int, priority: str) -> None:
        """*count* calls, the processes taking turns."""
        for _ in range(count):
            self._calls += 1
            await self._callers[self._calls % 2].call(self._scope, f"{priority} {self._calls}", priority)

    async def watch(self, seconds: float) -> None:
        """Write down the places for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answer: Any = await self._redis.zrange(key("taken", self._scope), 0, -1, withscores=True)
            for name, at in answer:
                self.given.setdefault(name, at / 1_000_000)
            await asyncio.sleep(0.05)

    def over(self, most: int, window_s: float) -> int:
        """How many places are more than *most* in the window that ends with them."""
        at = sorted(self.given.values())
        return sum(later - earlier < window_s for earlier, later in zip(at, at[most:], strict=False))

    def within(self, begin: float, seconds: float) -> int:
        """How many places were given then."""
        first = min(self.given.values())
        return sum(begin <= at - first < begin + seconds for at in self.given.values())


async def run(stack: AsyncExitStack, redis_url: str, redis: Redis, scope: str, window_s: float) -> Run:
    """Two processes that are ready."""
    settings = {"per_minute": LIVE, "window_s": window_s, "look_s": window_s / 12, "silent_s": window_s / 5}
    callers = [await stack.enter_async_context(caller(redis_url, **settings)) for _ in range(2)]
    for each in callers:
        await each.call("warm", "warm")
    return Run(redis, scope, callers)


async def live(redis_url: str, redis: Redis, name: str, window_s: float, seconds: float) -> list[Figure]:
    """Live calls alone."""
    async with AsyncExitStack() as stack:
        made = await run(stack, redis_url, redis, name, window_s)
        watching = asyncio.create_task(made.watch(seconds + 0.5))
        await made.call(round(LIVE * (seconds / window_s + 2)), "live")
        await watching
    allowed = LIVE * max(1.0, seconds / window_s)
    return [
        Figure(f"limiter: {name}: used", made.within(0, seconds) / allowed, at_least=0.95),
        Figure(f"limiter: {name}: over 100 in a window", made.over(100, window_s), at_most=0),
        Figure(f"limiter: {name}: over 90 in a window", made.over(LIVE, window_s), at_most=0),
    ]


async def bulk(redis_url: str, redis: Redis) -> list[Figure]:
    """Bulk alone, then with live calls that come one by one."""
    window_s, spacing_s = SCALED_S, SCALED_S / LIVE
    waits: list[float] = []
    limiter = RateLimiter(redis, per_minute=LIVE, window_s=window_s)
    async with AsyncExitStack() as stack:
        made = await run(stack, redis_url, redis, "bulk", window_s)
        watching = asyncio.create_task(made.watch(4.5 * window_s))
        await made.call(LIVE * 6, "bulk")
        await asyncio.sleep(2 * window_s)
        for _ in range(40):
            began = time.monotonic()
            ticket = await limiter.take("bulk")
            while ticket is not None:
                await ticket.called
                ticket = await limiter.take("bulk", ticket)
            waits.append(time.monotonic() - began)
            await asyncio.sleep(1.5 * spacing_s)
        await watching
    return [
        Figure("limiter: bulk alone: used", made.within(window_s, window_s) / LIVE, at_least=0.95),
        Figure("limiter: live while bulk waits: used", made.within(3 * window_s, window_s) / LIVE, at_least=0.95),
        Figure("limiter: bulk: over 90 in a window", made.over(LIVE, window_s), at_most=0),
        Figure("limiter: live while bulk waits: longest / spacing", max(waits) / spacing_s, at_most=1.5),
    ]


async def wiped(redis_url: str, redis: Redis) -> list[Figure]:
    """Live calls alone, of a Redis that loses what it knows in the second window."""
    window_s, spacing_s = SCALED_S, SCALED_S / LIVE
    async with AsyncExitStack() as stack:
        made = await run(stack, redis_url, redis, "wiped", window_s)
        watching = asyncio.create_task(made.watch(2.5 * window_s))
        began = time.monotonic()
        await made.call(LIVE * 4, "live")
        await asyncio.sleep(began + 1.5 * window_s - time.monotonic())
        seconds, micros = await redis.time()
        await redis.delete(*(key(kind, "wiped") for kind in KINDS))
        await watching
    after = sorted(at for at in made.given.values() if at > seconds + micros / 1_000_000)
    stop_s = max(later - earlier for earlier, later in itertools.pairwise([seconds + micros / 1_000_000, *after]))
    return [
        Figure("limiter: wiped: over 100 in a window", made.over(100, window_s), at_most=0),
        Figure("limiter: wiped: longest stop / spacing", stop_s / spacing_s, at_most=5),
    ]


async def cost(redis: Redis) -> list[Figure]:
    """A call that finds a free place."""
    limiter = RateLimiter(redis, per_minute=LIVE * 1000)
    sha = await redis.script_load(_BEFORE)
    took: tuple[list[float], list[float]] = [], []
    for _ in range(EACH):
        began = time.perf_counter()
        await redis.evalsha(sha, 2, "before", "before:pause", str(LIVE * 1000), "60000")
        between = time.perf_counter()
        await limiter.acquire("cost")
        took[0].append(between - began)
        took[1].append(time.perf_counter() - between)
    before, now = (1_000_000 * statistics.median(each) for each in took)
    calls = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    return [
        Figure("limiter: place: before", before, "us"),
        Figure("limiter: place", now, "us"),
        Figure("limiter: place / before", now / before, at_most=1.5),
        Figure("limiter: place: round trips", (calls - EACH) / EACH, at_most=1.01),
    ]


async def measure() -> Sequence[Figure]:
    async with stores() as addresses:
        redis = redis_client.client(addresses.redis_url, timeout_s=5)
        figures = await cost(redis)
        figures += await live(addresses.redis_url, redis, "scaled", SCALED_S, WINDOWS * SCALED_S)
        figures += await bulk(addresses.redis_url, redis)
        figures += await wiped(addresses.redis_url, redis)
        figures += await live(addresses.redis_url, redis, "90 a minute", 60.0, REAL_S)
        await redis.aclose()
    return figures


if __name__ == "__main__":
    main(measure, __doc__)
