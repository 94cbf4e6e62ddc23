"""Pauses of rate limits, as an operator sees and ends them."""

from __future__ import annotations

from redis.asyncio import Redis

from adapters.redis.limit_scripts import key


async def seconds_left(redis: Redis, scope: str) -> float:
    """How long requests of *scope* are held yet because the other side asked for it; 0 where they are not."""
    return max(0.0, int(await redis.pttl(key("pause", scope))) / 1000)


async def lift(redis: Redis, scope: str) -> bool:
    """End the pause of *scope*, and forget the refusals that made it longer, and the limit smaller. False where there
    was none.

    Every process follows within `limits.LOOK_S` seconds.
    """
    await redis.delete(key("refusals", scope), key("pace", scope), key("eased", scope))
    return int(await redis.delete(key("pause", scope))) > 0
