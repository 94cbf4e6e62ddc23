"""What Redis servers say of themselves, and how long entries have waited in streams. Reads only."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from adapters.redis import durability as durabilities
from adapters.redis.client import server_of
from adapters.redis.server import Node
from adapters.redis.streams import Durability
from adapters.redis.values import parsed_id, text

_DURABILITIES: Final[tuple[Durability, ...]] = ("none", "waitaof", "always")


@dataclass(frozen=True, slots=True)
class RedisServer:
    """None: the server may not be asked. *skew_s*: its clock minus ours. *max_memory*: bytes, 0: no limit.

    *failing*: what it says of writing to its disk that is not "ok". *role*: master or replica ("slave"). *address*:
    of a node of a cluster, else "".
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
    address: str = ""
    lacks: tuple[str, ...] = ()
    """The commands that we may not run there: what only they tell is not known."""

    @property
    def full(self) -> float:
        """The share of its memory that is in use; 0 without a limit."""
        return self.used_memory / self.max_memory if self.max_memory else 0.0


@dataclass(frozen=True, slots=True)
class RedisServers:
    """*whole*: what holds for all of them together, by the weakest. *nodes*: each of a cluster, or the one server.
    *silent*: addresses of nodes that do not answer."""

    whole: RedisServer
    nodes: tuple[RedisServer, ...]
    silent: tuple[str, ...] = ()


async def inspect_redis(redis: Redis) -> RedisServers:
    """Ask the server; of a cluster every node. Raises: StreamErrors, also when a primary does not answer."""
    durability = await durabilities.of(redis)
    server = server_of(redis)
    nodes = await server.nodes()
    found, silent = [], await server.given_up()
    for node in nodes:
        try:
            found.append(await _look_at(node, durability if len(nodes) == 1 else None))
        except (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError):
            if node.primary:
                raise
            silent.add(node.address)
    if lacks := await durabilities.lacking(redis):
        found = [replace(one, lacks=lacks) for one in found]
    whole = found[0] if len(nodes) == 1 else _weakest(found, durability)
    return RedisServers(whole, tuple(found), tuple(sorted(silent)))


def _weakest(nodes: Sequence[RedisServer], durability: Durability) -> RedisServer:
    """What may be relied on where any of *nodes* may be the one that holds an event."""
    worst = min(nodes, key=lambda node: _DURABILITIES.index(node.durability))
    fullest = max(nodes, key=lambda node: (node.full, node.used_memory))
    policies = [node.policy for node in nodes if node.policy != "noeviction"]
    return replace(
        worst,
        durability=min(durability, worst.durability, key=_DURABILITIES.index),
        policy=next((policy for policy in policies if policy is not None), policies[0] if policies else "noeviction"),
        used_memory=fullest.used_memory,
        max_memory=fullest.max_memory,
        failing=tuple(sorted({name for node in nodes for name in node.failing})),
        role="master",
        replicas=sum(node.replicas for node in nodes),
        skew_s=max((node.skew_s for node in nodes), key=abs),
        address="",
    )


async def _look_at(node: Node, durability: Durability | None) -> RedisServer:
    """One server. *durability*: as far as it is known already, else by its settings alone."""
    info = await _info(node)
    before = time.time()
    seconds, micros = await node.ask("TIME")
    skew_s = int(seconds) + int(micros) / 1e6 - (before + time.time()) / 2
    config = await _config(node)
    appendonly, appendfsync = _on(config.get("appendonly"), info.get("aof_enabled")), config.get("appendfsync")
    statuses = ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
    return RedisServer(
        name=str(info.get("server_name", "redis")).capitalize(),
        version=str(info.get("valkey_version") or info.get("redis_version", "(version not known)")),
        durability=durability or _by_settings(appendonly, appendfsync),
        appendonly=appendonly,
        appendfsync=appendfsync,
        policy=config.get("maxmemory-policy") or info.get("maxmemory_policy"),
        used_memory=int(info.get("used_memory", 0)),
        max_memory=int(info.get("maxmemory", 0)),
        failing=tuple(name for name in statuses if info.get(name, "ok") != "ok"),
        role=str(info.get("role", "master")),
        replicas=int(info.get("connected_slaves", 0)),
        skew_s=skew_s,
        address=node.address,
    )


def _by_settings(appendonly: bool | None, appendfsync: str | None) -> Durability:
    if appendonly is False or appendfsync == "no":
        return "none"
    return "always" if appendfsync == "always" else "waitaof"


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
        reached = [g["last-delivered-id"] for g in groups if text(g["name"]) == group] if _listed(groups) else []
        for after in reached:
            pipe.xrange(key, min=f"({text(after)}", count=1)
    for entries in await pipe.execute(raise_on_error=False):
        oldest += [_id_s(entry[0]) for entry in entries] if _listed(entries) else []
    return min(oldest, default=None)


def _listed(answer: Any) -> bool:
    return isinstance(answer, list)


async def _info(node: Node) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = await node.ask("INFO")
    except redis_errors.ResponseError as exc:
        if not durabilities.forbidden(exc):
            raise
        return {}
    return found


async def _config(node: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        for pattern in ("append*", "maxmemory-policy"):
            answer = await node.ask("CONFIG GET", pattern)
            found |= {text(name): text(value) for name, value in answer.items()}
    except redis_errors.ResponseError:
        return {}  # managed servers forbid it
    return found


def _on(setting: str | None, flag: Any) -> bool | None:
    if setting is not None:
        return setting == "yes"
    return None if flag is None else bool(int(flag))


def _id_s(entry_id: bytes | str) -> float:
    return parsed_id(text(entry_id))[0] / 1000
