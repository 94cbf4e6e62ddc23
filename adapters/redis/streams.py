"""The Redis commands of the bus, as typed functions.

Facts this module leans on, seen on Valkey 9.1 and Redis 7.0: reading a group's history from id 0 keeps order; a retried
XREADGROUP strands what the lost answer held, so reads are never retried here; a script cannot block, so who has nothing
to read waits by an XREAD, which takes nothing; XADD after a lost answer may add twice,
so an append is never retried here either (its caller may: events are de-duplicated by the inbox).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from adapters.redis.append import Appends, Durability, NotDurable, Unverified, raise_first
from adapters.redis.client import Command, client, cluster
from adapters.redis.recent import Recent
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
    "partition_in",
    "stream_key",
]

CONSUMER: Final = "owner"
"""The one consumer name of every group. Who holds the lease of a partition reads under it; nobody else may."""

# KEYS: fences. ARGV: an epoch for each. Answers the epochs in force: a later one stays.
_CLAIM: Final = """
local inforce = {}
for i, key in ipairs(KEYS) do
  inforce[i] = math.max(tonumber(redis.call('GET', key) or '0'), tonumber(ARGV[i]))
  redis.call('SET', key, string.format('%d', inforce[i]))
end
return inforce
"""

# KEYS: n fences, streams. ARGV: n, an epoch for each fence, group, consumer, count, an id for each stream.
_READ: Final = """
local n = tonumber(ARGV[1])
for i = 1, n do
  local inforce = redis.call('GET', KEYS[i]) or '0'
  if inforce ~= ARGV[i + 1] then return redis.error_reply('FENCED ' .. KEYS[i] .. ' ' .. inforce) end
end
local command = {'XREADGROUP', 'GROUP', ARGV[n + 2], ARGV[n + 3], 'COUNT', ARGV[n + 4], 'STREAMS'}
for i = n + 1, #KEYS do command[#command + 1] = KEYS[i] end
for i = n + 5, #ARGV do command[#command + 1] = ARGV[i] end
return redis.pcall(unpack(command))
"""

POLL_S: Final = 0.05
"""How often a cluster is asked for new entries: a blocking read would need a connection for every partition."""

StreamErrors: Final = (redis_errors.RedisError, OSError, TimeoutError)
"""What talking to Redis can raise: all of it means that the store is away or refuses, never that an event is bad."""


class Fenced(redis_errors.ResponseError):
    """Another epoch of *partition* is in force than the one that was to be read under: *epoch*, or 0 for none."""

    def __init__(self, partition: int, epoch: int) -> None:
        super().__init__(f"partition {partition} is read under epoch {epoch}")
        self.partition = partition
        self.epoch = epoch


@dataclass(frozen=True, slots=True)
class Delivery:
    """One entry as read: *key* and *id* name it; *fields* is empty when the entry was deleted while pending."""

    key: str
    id: str
    fields: Mapping[bytes, bytes]


def stream_key(topic: str, partition: int) -> str:
    """The stream of *topic* in *partition*. The braces are a cluster hash tag: a partition's keys share a slot."""
    return f"ferryman:{{{partition}}}:{topic}"


def fence_key(group: str, partition: int) -> str:
    """Where the epoch stands under which *group* is read in *partition*."""
    return f"ferryman:{{{partition}}}:epoch:{group}"


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

    async def claim(self, group: str, epochs: Mapping[int, int]) -> dict[int, int]:
        """Let *group* be read under *epochs* (partition -> epoch) and no earlier ones; returns what is in force then.

        A lease alone does not keep its former owner from reading: it may have been stopped just before it sent the
        command, and what it gets then is not there for the new owner, who goes on with what is behind it.
        """
        commands: list[tuple[str, Command]] = [
            (fences[0], ("EVAL", _CLAIM, len(fences), *fences, *(epochs[partition_in(fence)] for fence in fences)))
            for fences in self._side_by_side([fence_key(group, partition) for partition in epochs])
        ]
        answers = await self._answers(commands)
        in_force = (epoch for answer in answers for epoch in answer)
        return dict(zip(epochs, in_force, strict=True))

    async def read(
        self, group: str, positions: Mapping[str, str], *, count: int, epochs: Mapping[int, int]
    ) -> list[Delivery]:
        """Entries of several streams: new ones where the position is ">", else the pending ones after it.

        *count* is per stream; *epochs* are of the partitions that are to be read as claimed. Never cancel it and never
        repeat it blindly: after any error read the history first. Raises: StreamErrors, among them Fenced.
        """
        commands: list[tuple[str, Command]] = []
        for keys in self._side_by_side(positions):
            parts = {partition: epochs[partition] for key in keys if (partition := partition_in(key)) in epochs}
            fences = [fence_key(group, partition) for partition in parts]
            fenced: Command = ("EVAL", _READ, len(fences) + len(keys), *fences, *keys, len(fences), *parts.values())
            commands.append((keys[0], (*fenced, group, CONSUMER, count, *(positions[key] for key in keys))))
        answers = await self._answers(commands)
        return [delivery for answer in answers for delivery in _deliveries(answer)]

    async def wait(self, after: Mapping[str, str], *, block_ms: int) -> bool:
        """Until one of the streams has an entry beyond its id (then true), at most *block_ms*. Takes nothing. Of a
        cluster nobody can tell: false after POLL_S."""
        if cluster(self.redis) is not None:
            await asyncio.sleep(min(POLL_S, block_ms / 1000))
            return False
        return bool(await self.redis.xread(cast("Any", dict(after)), count=1, block=block_ms))

    async def last_ids(self, keys: Sequence[str]) -> dict[str, str]:
        """The id of the last entry that each of *keys* ever had."""
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            pipe.xinfo_stream(key)
        return {key: _text(info["last-generated-id"]) for key, info in zip(keys, await pipe.execute(), strict=True)}

    def _side_by_side(self, keys: Iterable[str]) -> list[list[str]]:
        """*keys* by what one command may name: of a cluster, one partition's, as all must share a slot."""
        parts: dict[int, list[str]] = {}
        for key in keys:
            parts.setdefault(0 if cluster(self.redis) is None else partition_in(key), []).append(key)
        return list(parts.values())

    async def _answers(self, commands: Sequence[tuple[str, Command]]) -> list[Any]:
        """Of *commands*, each with a key that tells its node. An error of one node is raised after the others' answers
        are in; what those held is in the history then."""
        try:
            if (parted := cluster(self.redis)) is not None:
                answers, _ = await parted.run(commands)
                raise_first(answers)
                return answers
            return [await cast("Any", self.redis).execute_command(*command) for _, command in commands]
        except redis_errors.ResponseError as exc:
            word, *told = str(exc).split()
            if word != "FENCED":
                raise
            raise Fenced(partition_in(told[0]), int(told[1])) from None

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


def _deliveries(answer: Any) -> list[Delivery]:
    """Of a script's answer: what is a map for the server is a list there."""
    return [
        Delivery(_text(key), _text(entry_id), dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {})
        for key, entries in answer or ()
        for entry_id, flat in entries
    ]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
