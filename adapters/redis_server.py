"""What the Redis server says of itself, and how long entries have waited in streams. Reads only."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from adapters import streams
from adapters.streams import Durability


@dataclass(frozen=True, slots=True)
class RedisServer:
    """None: the server may not be asked. *skew_s*: its clock minus ours. *max_memory*: bytes, 0: no limit.

    *failing*: what it says of writing to its disk that is not "ok". *role*: master or replica.
    """

    name: str
    version: str
    durability: Durability
    appendonly: bool | None
    appendfsync: str | None
    policy: str | None
    used_memory: int
    max_memory: int
    failing: tuple[str, ...]
    role: str
    replicas: int
    skew_s: float


async def look(redis: Redis) -> RedisServer:
    """Ask the server; of a cluster one node, but for durability and policy, which are those of its weakest.

    Raises: StreamErrors.
    """
    info: Mapping[str, Any] = await redis.info()
    before = time.time()
    seconds, micros = await redis.time()
    skew_s = seconds + micros / 1e6 - (before + time.time()) / 2
    config = await _config(redis)
    statuses = ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
    return RedisServer(
        name=str(info.get("server_name", "redis")).capitalize(),
        version=str(info.get("valkey_version") or info.get("redis_version", "?")),
        durability=await streams.durability(redis),
        appendonly=_on(config.get("appendonly"), info.get("aof_enabled")),
        appendfsync=config.get("appendfsync"),
        policy=await streams.eviction_policy(redis) or _text(info.get("maxmemory_policy")),
        used_memory=int(info.get("used_memory", 0)),
        max_memory=int(info.get("maxmemory", 0)),
        failing=tuple(name for name in statuses if info.get(name, "ok") != "ok"),
        role=str(info.get("role", "master")),
        replicas=int(info.get("connected_slaves", 0)),
        skew_s=skew_s,
    )


async def waiting_since(redis: Redis, group: str, keys: Sequence[str]) -> float | None:
    """When the oldest entry of *keys* that *group* has not acknowledged was appended: Unix seconds of the server's
    clock; None when there is none."""
    pipe = redis.pipeline(transaction=False)
    for key in keys:
        pipe.xpending(key, group)
        pipe.xinfo_groups(key)
    answers = await pipe.execute(raise_on_error=False)
    oldest = [_id_s(p["min"]) for p in answers[::2] if isinstance(p, dict) and p.get("pending") and p.get("min")]
    pipe = redis.pipeline(transaction=False)
    for key, groups in zip(keys, answers[1::2], strict=True):
        reached = [g["last-delivered-id"] for g in groups if _text(g["name"]) == group] if _listed(groups) else []
        for after in reached:
            pipe.xrange(key, min=f"({_text(after)}", count=1)
    for entries in await pipe.execute(raise_on_error=False):
        oldest += [_id_s(entry[0]) for entry in entries] if _listed(entries) else []
    return min(oldest, default=None)


def _listed(answer: Any) -> bool:
    return isinstance(answer, list)


async def _config(redis: Redis) -> dict[str, str]:
    try:
        answer: Any = await redis.config_get("append*")
    except redis_errors.ResponseError:
        return {}  # managed servers forbid it
    return {_text(name) or "": _text(value) or "" for name, value in answer.items()}


def _on(setting: str | None, flag: Any) -> bool | None:
    if setting is not None:
        return setting == "yes"
    return None if flag is None else bool(int(flag))


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value


def _id_s(entry_id: bytes | str) -> float:
    return int((_text(entry_id) or "0").partition("-")[0]) / 1000
