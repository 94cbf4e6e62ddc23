"""What a server's settings promise: how an append is known to be on disk, and whether it may throw streams away."""

from __future__ import annotations

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from adapters.redis.append import Durability
from adapters.redis.client import server_of
from adapters.redis.values import text


async def of(redis: Redis) -> Durability:
    """How an append to this server can be known to be on disk; of a cluster, how on its weakest node, replicas too.

    "always": the server syncs before it answers. "waitaof": it must be asked (WAITAOF, Valkey and Redis from 7.2 on),
    in a cluster each node that wrote, on the connection that the entries went over. "none": no append-only file, or
    CONFIG is forbidden and WAITAOF unknown: a crash of the server may lose entries.
    """
    try:
        configs = await _configs(redis, "append*")
        if any(config.get("appendonly") == "no" or config.get("appendfsync") == "no" for config in configs):
            return "none"  # with appendfsync no there is nothing to wait for either: the disk is the kernel's business
        if all(config.get("appendfsync") == "always" for config in configs):
            return "always"
    except redis_errors.ResponseError:
        pass  # managed servers forbid CONFIG: ask for the confirmation itself
    try:
        for node in await server_of(redis).nodes():
            if node.primary:
                await node.ask("WAITAOF", 1, 0, 1)
    except redis_errors.ResponseError:
        return "none"
    return "waitaof"


async def eviction_policy(redis: Redis) -> str | None:
    """The server's maxmemory-policy, or None when it may not be asked; of a cluster, the first that evicts."""
    try:
        policies = [config.get("maxmemory-policy") for config in await _configs(redis, "maxmemory-policy")]
    except redis_errors.ResponseError:
        return None
    return next((policy for policy in policies if policy not in (None, "noeviction")), policies[0])


async def _configs(redis: Redis, pattern: str) -> list[dict[str, str]]:
    answers = await server_of(redis).ask_each("CONFIG GET", pattern)
    return [{text(name): text(value) for name, value in answer.items()} for answer in answers]
