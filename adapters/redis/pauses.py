"""Pauses of rate limits, as an operator sees and ends them."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from redis.asyncio import Redis

from adapters.redis.limit_scripts import key

REMEMBERED_S: Final = 3600
"""A process that has not heard of a resumption for so long has tried again by itself."""


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


async def resume(redis: Redis, scope: str) -> None:
    """Let every process try again at once what it holds back because the other side was away, or has refused us."""
    await redis.set(key("resumed", scope), uuid4().hex, ex=REMEMBERED_S)


async def resumed(redis: Redis, scope: str) -> bytes | None:
    """What changes with each resumption of *scope*; None: there was none of late."""
    told: bytes | None = await redis.get(key("resumed", scope))  # type: ignore[assignment]
    return told
