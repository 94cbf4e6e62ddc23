"""What a server's settings promise: how an append is known to be on disk, and whether it may throw streams away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from adapters.redis.append import Durability
from adapters.redis.client import server_of
from adapters.redis.server import Part
from adapters.redis.values import text

ASKED: Final[Mapping[str, tuple[Part, ...]]] = {
    "INFO": ("INFO", "server"),
    "CONFIG GET": ("CONFIG GET", "appendfsync"),
    "WAITAOF": ("WAITAOF", 0, 0, 1),
}
"""The commands that tell how a server keeps what it has, which an ACL or the firm that runs the server may forbid."""


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


async def lacking(redis: Redis) -> tuple[str, ...]:
    """Which commands of ASKED a primary does not let us run, or does not have."""
    primaries = [node for node in await server_of(redis).nodes() if node.primary]
    found = []
    for name, command in ASKED.items():
        try:
            for node in primaries:
                await node.ask(*command)
        except redis_errors.ResponseError as exc:
            if forbidden(exc):
                found.append(name)
    return tuple(found)


def forbidden(exc: redis_errors.ResponseError) -> bool:
    """Whether the server refused the command itself: its user may not run it, or it does not have it."""
    return isinstance(exc, redis_errors.NoPermissionError) or "unknown command" in str(exc).lower()


def untold(lacks: tuple[str, ...]) -> bool:
    """Whether nothing can tell how a server keeps an append, as all that could tell it is among *lacks*."""
    return {"CONFIG GET", "WAITAOF"} <= set(lacks)


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
