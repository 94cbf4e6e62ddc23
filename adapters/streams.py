"""The Redis commands of the bus, as typed functions.

Facts this module leans on, seen on Valkey 9.1 and Redis 7.0: reading a group's history from id 0 keeps order; a retried
XREADGROUP strands what the lost answer held, so reads are never retried here; XADD after a lost answer may add twice,
so an append is never retried here either (its caller may: events are de-duplicated by the inbox).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from itertools import chain
from typing import Any, Final, Literal, TypeAlias, cast

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from adapters.recent import Recent
from adapters.redis_client import Command, ask_each, client, cluster, packed
from schemas.envelope import Event, to_fields
from schemas.errors import FerrymanError
from schemas.partitions import partition_of

__all__ = [
    "CONSUMER",
    "Delivery",
    "Durability",
    "NotDurable",
    "StreamErrors",
    "Streams",
    "client",
    "durability",
    "eviction_policy",
    "partition_in",
    "stream_key",
]

CONSUMER: Final = "owner"
"""The one consumer name of every group. Who holds the lease of a partition reads under it; nobody else may."""

WAITAOF_MS: Final = 1500

APPENDED: Final = 5000
"""Entries that we remember to have appended: more than a server that is killed can lose."""

POLL_S: Final = 0.05
"""How often a cluster is asked for new entries: a blocking read would need a connection for every partition."""

StreamErrors: Final = (redis_errors.RedisError, OSError, TimeoutError)
"""What talking to Redis can raise: all of it means that the store is away or refuses, never that an event is bad."""

_APPEND: Final = """
local ids, at = {}, 1
for n, key in ipairs(KEYS) do
  local fields = tonumber(ARGV[at])
  ids[n] = redis.call('XADD', key, '*', unpack(ARGV, at + 1, at + fields))
  at = at + fields + 1
end
return ids
"""
_APPEND_SHA: Final = sha1(_APPEND.encode(), usedforsecurity=False).hexdigest()

_WAITAOF: Final[Command] = ("WAITAOF", 1, 0, WAITAOF_MS)

Durability: TypeAlias = Literal["always", "waitaof", "none"]


class NotDurable(FerrymanError):
    """The append is not known to be on disk."""


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
        self._durability = durability
        self.recent = Recent()
        self.appended: deque[tuple[str, str]] = deque(maxlen=APPENDED)
        """(stream key, entry id) of what we appended last."""
        self._run: str | None = None
        self._script_known = False

    async def append(self, events: Sequence[Event]) -> None:
        """Append *events* in their order, in one round trip; returns when they are durable.

        Raises: StreamErrors, with any part of them appended; NotDurable when the server could not confirm the disk.
        """
        self.recent.add(events)
        keys = [stream_key(event.topic, partition_of(event.subject, self.partitions)) for event in events]
        entries = [list(chain.from_iterable(to_fields(event).items())) for event in events]
        if cluster(self.redis) is not None:
            await self._append_on_nodes(keys, entries)
            return
        ids = await self._by_script(len(keys), *keys, *chain.from_iterable((len(entry), *entry) for entry in entries))
        self.appended.extend(zip(keys, map(_text, ids), strict=True))

    async def _by_script(self, *arguments: str | bytes | int) -> list[bytes]:
        """Run _APPEND, and wait for the disk where the server must be asked to. One answer for all entries: the client
        takes as long to read one as the server to make it."""
        confirm = [packed(*_WAITAOF)] if self._durability == "waitaof" else []
        by_name, whole = ("EVALSHA", _APPEND_SHA), ("EVAL", _APPEND)
        try:
            ids, *confirmed = await self._round_trip(
                [packed(*(by_name if self._script_known else whole), *arguments), *confirm]
            )
        except redis_errors.NoScriptError:  # the server was started again, or is another one
            ids, *confirmed = await self._round_trip([packed(*whole, *arguments), *confirm])
        self._script_known = True
        if confirmed and int(confirmed[0][0]) < 1:
            raise NotDurable("Redis did not confirm its append-only file in time")
        found: list[bytes] = ids
        return found

    async def lost_the_last(self) -> bool:
        """Whether the server was started again without something of what we appended last: the end of its file is gone.

        For one server alone: see `redis_client.serving` for the others. Raises: StreamErrors.
        """
        if cluster(self.redis) is not None:
            return False
        info: Any = await self.redis.info("server")
        before, run = self._run, str(info["run_id"])
        if before not in (None, run):
            pipe = self.redis.pipeline(transaction=False)
            for key, entry_id in self.appended:
                pipe.xrange(key, min=entry_id, max=entry_id)
            if not all(await pipe.execute()):
                return True  # until it is mended, and `appended` with it
        self._run = run
        return False

    async def _append_on_nodes(self, keys: Sequence[str], entries: Sequence[Sequence[str | bytes]]) -> None:
        """As `append`, each node's part in one round trip, and the disk confirmed by each node that wrote."""
        parted = cluster(self.redis)
        assert parted is not None
        wait_for = _WAITAOF if self._durability == "waitaof" else None
        commands = [(key, ("XADD", key, "*", *entry)) for key, entry in zip(keys, entries, strict=True)]
        answers, confirmed = await parted.run(commands, wait_for)
        _raise_first(answers)
        if any(int(answer[0]) < 1 for answer in confirmed):
            raise NotDurable("a node of the cluster did not confirm its append-only file in time")

    async def _round_trip(self, commands: Sequence[bytes]) -> list[Any]:
        """What a pipeline does, at half of its CPU time: the client packs in Python and sets a timer per answer.

        Raises: StreamErrors; the first error that the server answered with, after all answers are read.
        """
        pool: Any = self.redis.connection_pool
        connection = await pool.get_connection()
        try:
            await connection.send_packed_command(b"".join(commands))
            answers: list[Any] = []
            async with asyncio.timeout(connection.socket_timeout):
                for _ in commands:
                    try:
                        answers.append(await connection.read_response(timeout=math.inf))
                    except redis_errors.ResponseError as exc:
                        answers.append(exc)
        finally:
            await pool.release(connection)
        _raise_first(answers)
        return answers

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
            _raise_first(answers)
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


def _raise_first(answers: Sequence[Any]) -> None:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
