"""The Redis commands of the bus, as typed functions.

Facts this module leans on, seen on Valkey 9.1 and Redis 7.0: reading a group's history from id 0 keeps order; a retried
XREADGROUP strands what the lost answer held, so reads are never retried here; XADD after a lost answer may add twice,
so an append is never retried here either (its caller may: events are de-duplicated by the inbox).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from adapters.append import Appends, Durability, NotDurable, Unverified, raise_first
from adapters.recent import Recent
from adapters.redis_client import Command, ask_each, client, cluster
from schemas.envelope import Event, to_fields
from schemas.partitions import partition_of

__all__ = [
    "CONSUMER",
    "Delivery",
    "Durability",
    "NotDurable",
    "StreamErrors",
    "Streams",
    "Unverified",
    "client",
    "durability",
    "eviction_policy",
    "partition_in",
    "stream_key",
]

CONSUMER: Final = "owner"
"""The one consumer name of every group. Who holds the lease of a partition reads under it; nobody else may."""

POLL_S: Final = 0.05
"""How often a cluster is asked for new entries: a blocking read would need a connection for every partition."""

StreamErrors: Final = (redis_errors.RedisError, OSError, TimeoutError)
"""What talking to Redis can raise: all of it means that the store is away or refuses, never that an event is bad."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One entry as read: *key* and *id* name it; *fields* is empty when the entry was deleted while pending."""

    key: str
    id: str
    fields: Mapping[bytes, bytes]


def stream_key(topic: str, partition: int) -> str:
    """The stream of *topic* in *partition*. The braces are a cluster hash tag: a partition's keys share a slot."""
    return f"ferryman:{{{partition}}}:{topic}"


def partition_in(key: str) -> int:
    """The partition that a stream key names."""
    return int(key[key.index("{") + 1 : key.index("}")])


class Streams:
    """Appends, reads and acknowledgements on one client."""

    def __init__(self, redis: Redis, partitions: int, durability: Durability = "always") -> None:
        self.redis = redis
        self.partitions = partitions
        self.appends = Appends(redis, durability)
        self.recent = Recent()

    async def append(self, events: Sequence[Event]) -> None:
        """Append *events* in their order, in one round trip; returns when they are durable.

        Raises: StreamErrors, with any part of them appended; NotDurable when the server could not confirm the disk;
        Unverified, with none of them appended.
        """
        await self._append(events, lost=False)

    async def restore(self, events: Sequence[Event]) -> None:
        """As `append`, of what a server that was started again has lost: it goes before everything else."""
        await self._append(events, lost=True)

    async def _append(self, events: Sequence[Event], *, lost: bool) -> None:
        keys = [stream_key(event.topic, partition_of(event.subject, self.partitions)) for event in events]
        entries = [to_fields(event) for event in events]
        self.recent.add(entries)
        await self.appends.run(keys, entries, lost=lost)

    async def ensure_groups(self, group: str, keys: Iterable[str], start: str = "0") -> None:
        """Make the streams and *group* on them where they are missing. *start*: the id after which a new group
        reads."""
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            pipe.execute_command("XGROUP", "CREATE", key, group, start, "MKSTREAM")
        for answer in await pipe.execute(raise_on_error=False):
            if isinstance(answer, Exception) and not str(answer).startswith("BUSYGROUP"):
                raise answer

    async def read(
        self, group: str, positions: Mapping[str, str], *, count: int, block_ms: int | None
    ) -> list[Delivery]:
        """Entries of several streams: new ones where the position is ">", else the pending ones after it.

        *count* is per stream. Never cancel it and never repeat it blindly: after any error read the history first.
        """
        if cluster(self.redis) is not None:
            return await self._read_on_nodes(group, positions, count, block_ms)
        answer: Any = await self.redis.xreadgroup(
            group, CONSUMER, cast("Any", dict(positions)), count=count, block=block_ms
        )
        return _deliveries(answer)

    async def _read_on_nodes(
        self, group: str, positions: Mapping[str, str], count: int, block_ms: int | None
    ) -> list[Delivery]:
        """As `read`: a command a partition, as all streams of a command must share a slot, the nodes side by side.

        An error of one node is raised after the others' answers are in; what those held is in the history then.
        """
        parted = cluster(self.redis)
        assert parted is not None
        by_partition: dict[int, list[str]] = {}
        for key in positions:
            by_partition.setdefault(partition_in(key), []).append(key)
        head: Command = ("XREADGROUP", "GROUP", group, CONSUMER, "COUNT", count, "STREAMS")
        commands = [(keys[0], (*head, *keys, *(positions[key] for key in keys))) for keys in by_partition.values()]
        loop = asyncio.get_running_loop()
        until = loop.time() + (block_ms or 0) / 1000
        while True:
            answers, _ = await parted.run(commands)
            raise_first(answers)
            found = [delivery for answer in answers for delivery in _deliveries(answer)]
            left_s = until - loop.time()
            if found or left_s <= 0:
                return found
            await asyncio.sleep(min(left_s, POLL_S))

    async def ack(self, group: str, entries: Sequence[tuple[str, str]]) -> None:
        """Acknowledge (stream key, entry id) pairs, in one round trip. Repeating it is harmless."""
        by_key: dict[str, list[str]] = {}
        for key, entry_id in entries:
            by_key.setdefault(key, []).append(entry_id)
        pipe = self.redis.pipeline(transaction=False)
        for key, ids in by_key.items():
            pipe.execute_command("XACK", key, group, *ids)
        await pipe.execute()

    async def pending(self, group: str, keys: Sequence[str]) -> dict[str, int]:
        """How many entries of each of *keys* are delivered to *group* and not acknowledged."""
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            pipe.xpending(key, group)
        return {key: int(found["pending"]) for key, found in zip(keys, await pipe.execute(), strict=True)}

    async def deliveries(self, group: str, entries: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """How often each of the pending (stream key, entry id) was delivered."""
        pipe = self.redis.pipeline(transaction=False)
        for key, entry_id in entries:
            pipe.xpending_range(key, group, min=entry_id, max=entry_id, count=1)
        answers = await pipe.execute()
        return {entry: int(found[0]["times_delivered"]) for entry, found in zip(entries, answers, strict=True) if found}

    async def lag(self, group: str, keys: Sequence[str]) -> tuple[int, int]:
        """(entries of *keys* not yet read by *group*, entries read and not acknowledged); -1 where the server cannot
        tell."""
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            pipe.xinfo_groups(key)
        unread = pending = 0
        for groups in await pipe.execute(raise_on_error=False):
            if isinstance(groups, Exception):
                continue
            for info in groups:
                if _text(info["name"]) == group:
                    pending += int(info["pending"])
                    unread = -1 if info.get("lag") is None or unread < 0 else unread + int(info["lag"])
        return unread, pending


async def durability(redis: Redis) -> Durability:
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
        if (parted := cluster(redis)) is not None:
            await parted.initialize()
            for node in parted.get_primaries():
                await parted.execute_command("WAITAOF", 1, 0, 1, target_nodes=node)
        else:
            await cast("Any", redis).execute_command("WAITAOF", 1, 0, 1)
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
    answers = await ask_each(redis, "CONFIG GET", pattern)
    return [{_text(name): _text(value) for name, value in answer.items()} for answer in answers]


def _deliveries(answer: Any) -> list[Delivery]:
    return [
        Delivery(_text(key), _text(entry_id), fields or {})
        for key, entries in (answer or {}).items()
        for entry_id, fields in entries
    ]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
