"""How much of a rate limit is in force: a refusal halves it for all processes, and it grows back slowly."""

from __future__ import annotations

import math
from typing import Any, cast

from redis.asyncio import Redis

from adapters.redis.limit_scripts import REGAINED_S, key


def allowed(amount: int, window_s: float, cut: float, elapsed_s: float) -> int:
    """How many of *amount* requests in *window_s* are allowed, *elapsed_s* after a refusal that left *cut* of them.

    It grows by *amount* in REGAINED_S seconds, so that it grows the faster the larger the limit is; never less than one
    a second, nor than a limit that is smaller than that.
    """
    least = min(amount, math.ceil(window_s))
    return max(least, min(amount, math.floor(cut + amount * max(0.0, elapsed_s) / REGAINED_S)))


async def in_force(redis: Redis, scope: str, amount: int, window_s: float) -> int:
    """How many of *amount* requests in *window_s* are allowed in *scope* now."""
    client = cast("Any", redis)
    cut, at = await client.hmget(key("eased", scope), "cut", "at")
    if cut is None:
        return amount
    seconds, micros = await client.time()
    return allowed(amount, window_s, float(cut), seconds + (micros - int(at)) / 1e6)
