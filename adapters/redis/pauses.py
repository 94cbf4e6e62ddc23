"""Pauses of rate limits, as an operator sees and ends them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
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


class Heard(NamedTuple):
    """What is known of a scope. *left_s*: how long its requests are held yet. *resumed*: changes with each resumption;
    None: there was none of late."""

    left_s: float
    resumed: bytes | None


async def heard(redis: Redis, scopes: Sequence[str]) -> list[Heard]:
    """What is known of each of *scopes*, in their order; one round trip."""
    pipe = redis.pipeline(transaction=False)
    for scope in scopes:
        pipe.pttl(key("pause", scope))
        pipe.get(key("resumed", scope))
    told = await pipe.execute() if scopes else []
    return [Heard(max(0.0, int(ms) / 1000), again) for ms, again in zip(told[::2], told[1::2], strict=True)]
