"""The look at Redis at a start: whether it may be used, and how durable it is."""

from __future__ import annotations

import structlog
from redis.asyncio import Redis

from adapters.redis import durability
from adapters.redis.streams import Durability
from daemon.lifecycle import StartError

log = structlog.get_logger(__name__)


async def checked_redis(redis: Redis) -> Durability:
    """How durable Redis is. Raises: StartError for a Redis that evicts keys."""
    policy = await durability.eviction_policy(redis)
    if policy not in (None, "noeviction"):
        raise StartError(
            f"Redis has maxmemory-policy {policy} and would drop accepted events:"
            " set it to noeviction, or give Ferryman a Redis of its own"
        )
    return await durability.of(redis)


async def warn_of_loss(redis: Redis, found: Durability) -> None:
    """Log where Redis, whose durability was *found*, keeps nothing over a crash, or where nothing can tell."""
    if found != "none":
        return
    if durability.untold(await durability.lacking(redis)):
        log.warning(
            "redis.durability_unknown",
            reason="the user of REDIS_URL may run neither CONFIG GET nor WAITAOF",
            advice="allow one of them (+config|get, +waitaof)",
        )
    else:
        log.warning(
            "redis.not_durable",
            reason="no append-only file that can be waited for: a crash of Redis loses what it accepted last",
            advice="set appendonly yes and appendfsync always",
        )
