"""The Redis commands of the bus, as typed functions.

Facts this module relies on, seen on Valkey 9.1 and Redis 7.0:
- A group's history, read from id 0, comes in order.
- A repeated XREADGROUP leaves the entries of the lost answer pending, so a read is never repeated here.
- A script cannot block, so an idle reader blocks on XREAD, which does not claim entries.
- A repeated XADD may add twice, so an append is not repeated here. Its caller may: the inbox drops the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, product
from typing import Any, Final, NamedTuple

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from adapters.redis.append import Appends, Durability
from adapters.redis.client import client, server_of
from adapters.redis.recent import Recent
from adapters.redis.server import Command, Keyed, NotDurable, Untrusted
from adapters.redis.values import text
from schemas.envelope import Event, to_fields
from schemas.partitions import partition_of

__all__ = [
    "CONSUMER",
    "StreamEntry",
    "Durability",
    "NotDurable",
    "StreamErrors",
    "Streams",
    "Untrusted",
    "client",
    "partition_in",
    "stream_key",
    "stream_keys",
    "topic_in",
]

CONSUMER: Final = "owner"
"""The one consumer name of every group. Only the lease holder of a partition reads there, under this name."""

# KEYS: where epochs stand. ARGV: an epoch for each. Answers the epochs in force: a later one stays.
_CLAIM: Final = """
local inforce = {}
for i, key in ipairs(KEYS) do
  inforce[i] = math.max(tonumber(redis.call('GET', key) or '0'), tonumber(ARGV[i]))
  redis.call('SET', key, string.format('%d', inforce[i]))
end
return inforce
"""

# KEYS: where n epochs stand, streams. ARGV: n, the epochs, group, consumer, count, an id for each stream.
_READ: Final = """
local n = tonumber(ARGV[1])
for i = 1, n do
  local inforce = redis.call('GET', KEYS[i]) or '0'
  if inforce ~= ARGV[i + 1] then return redis.error_reply('STALE ' .. KEYS[i] .. ' ' .. inforce) end
end
local command = {'XREADGROUP', 'GROUP', ARGV[n + 2], ARGV[n + 3], 'COUNT', ARGV[n + 4], 'STREAMS'}
for i = n + 1, #KEYS do command[#command + 1] = KEYS[i] end
for i = n + 5, #ARGV do command[#command + 1] = ARGV[i] end
return redis.pcall(unpack(command))
"""

StreamErrors: Final = (redis_errors.RedisError, OSError, TimeoutError)
"""What talking to Redis can raise: all of it means that the store is away or refuses, never that an event is bad."""


class StaleRead(redis_errors.ResponseError):
    """Another epoch of *partition* is in force than the one that was to be read under: *epoch*, or 0 for none."""

    def __init__(self, partition: int, epoch: int) -> None:
        super().__init__(f"partition {partition} is read under epoch {epoch}")
        self.partition = partition
        self.epoch = epoch


class StreamEntry(NamedTuple):
    """One entry as read: *key* and *id* name it; *fields* is empty when the entry was deleted while pending."""

    key: str
    id: str
    fields: Mapping[bytes, bytes]


def stream_key(topic: str, partition: int) -> str:
    """The stream of *topic* in *partition*. The braces are a cluster hash tag: a partition's keys share a slot."""
    return f"ferryman:{{{partition}}}:{topic}"


def stream_keys(topics: Iterable[str], partitions: Iterable[int]) -> list[str]:
    """The streams of *topics* in *partitions*, topic by topic."""
    return [stream_key(topic, partition) for topic, partition in product(topics, partitions)]


def epoch_key(group: str, partition: int) -> str:
    """Where the epoch stands under which *group* is read in *partition*."""
    return f"ferryman:{{{partition}}}:epoch:{group}"


def partition_in(key: str) -> int:
    """The partition that a stream key names."""
    return int(key[key.index("{") + 1 : key.index("}")])


def topic_in(key: str) -> str:
    """The topic that a stream key names."""
    return key.rpartition(":")[2]


class Streams:
    """Appends, reads and acknowledgements on one client. *recovers*: see Appends."""

    def __init__(
        self, redis: Redis, partitions: int, durability: Durability = "always", *, recovers: bool = False
    ) -> None:
        self.redis = redis
        self.server = server_of(redis)
        self.partitions = partitions
        self.appends = Appends(self.server, durability, recovers=recovers)
        self.recent = Recent()

    async def append(self, events: Sequence[Event]) -> None:
        """Append *events* in their order, in one round trip; returns when they are durable.

        Raises: StreamErrors, with any part of them appended; NotDurable when the server could not confirm the disk;
        Untrusted, with none of them appended.
        """
        await self._append(events, lost=False)

    async def restore(self, events: Sequence[Event]) -> list[str]:
        """As `append`, of what a server that was started again has lost: it goes before everything else. Returns
        the ids of the entries."""
        return [text(entry_id) for entry_id in await self._append(events, lost=True)]

    async def _append(self, events: Sequence[Event], *, lost: bool) -> list[bytes]:
        entries = [to_fields(event) for event in events]
        batch = self.recent.add(entries)
        try:
            ids = await self.appends.run([*map(self._key, events)], entries, lost=lost)
        except BaseException:
            self.recent.discard(batch)  # its caller still has it, and what the caller puts before it goes before it
            raise
        self.recent.is_there(batch, ids)
        return ids

    def _key(self, event: Event) -> str:
        return stream_key(event.topic, partition_of(event.subject, self.partitions))

    async def lacks_recent(self) -> bool:
        """Whether the server has lost something of what this process appended last. Raises: StreamErrors."""
        pipe = self.redis.pipeline(transaction=False)
        for event, entry_id in self.recent.there():
            pipe.xrange(self._key(event), min=entry_id, max=entry_id)
        return not all(await pipe.execute())

    async def ensure_groups(self, group: str, keys: Iterable[str], start: str = "0") -> None:
        """Make the streams and *group* on them where they are missing. *start*: the id after which a new group
        reads."""
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            pipe.execute_command("XGROUP", "CREATE", key, group, start, "MKSTREAM")
        for answer in await pipe.execute(raise_on_error=False):
            if isinstance(answer, Exception) and not str(answer).startswith("BUSYGROUP"):
                raise answer

    async def drop_groups(self, group: str, keys: Iterable[str]) -> None:
        """Take *group* off the streams *keys*, with what is pending for it."""
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            pipe.execute_command("XGROUP", "DESTROY", key, group)
        for answer in await pipe.execute(raise_on_error=False):
            if isinstance(answer, Exception) and "requires the key to exist" not in str(answer):
                raise answer

    async def claim(self, group: str, epochs: Mapping[int, int]) -> dict[int, int]:
        """Let *group* be read under *epochs* (partition -> epoch) and no earlier ones; returns those in force then.

        A lease alone does not keep its former holder from reading: that process may have been stopped just before it
        sent its read. The entries it got then would be missing for the new lease holder.
        """
        together = self.server.together(epoch_key(group, partition) for partition in epochs)
        commands: list[Keyed] = [
            (keys[0], ("EVAL", _CLAIM, len(keys), *keys, *(epochs[partition_in(key)] for key in keys)))
            for keys in together
        ]
        in_force = zip(chain(*together), chain(*await self._answers(commands)), strict=True)
        return {partition_in(key): epoch for key, epoch in in_force}

    async def read(
        self, group: str, positions: Mapping[str, str], *, count: int, epochs: Mapping[int, int]
    ) -> list[StreamEntry]:
        """Entries of several streams: new ones where the position is ">", else the pending ones after it.

        *count* is per stream; *epochs* are of the partitions that are to be read as claimed. Never cancel it and never
        repeat it blindly: after any error read the history first. Raises: StreamErrors, among them StaleRead.
        """
        commands: list[Keyed] = []
        for keys in self.server.together(positions):
            parts = {partition: epochs[partition] for key in keys if (partition := partition_in(key)) in epochs}
            claims = [epoch_key(group, partition) for partition in parts]
            script: Command = ("EVAL", _READ, len(claims) + len(keys), *claims, *keys, len(claims), *parts.values())
            commands.append((keys[0], (*script, group, CONSUMER, count, *(positions[key] for key in keys))))
        answers = await self._answers(commands)
        return [entry for answer in answers for entry in _entries(answer)]

    async def fetch(self, entries: Sequence[tuple[str, str]]) -> list[StreamEntry]:
        """The entries named by (stream key, entry id), in their order; without fields where they are gone. Takes
        nothing. Raises: StreamErrors."""
        pipe = self.redis.pipeline(transaction=False)
        for key, entry_id in entries:
            pipe.xrange(key, min=entry_id, max=entry_id)
        answers: list[Any] = await pipe.execute()
        return [
            StreamEntry(key, entry_id, found[0][1] if found else {})
            for (key, entry_id), found in zip(entries, answers, strict=True)
        ]

    async def wait(self, after: Mapping[str, str], *, block_ms: int) -> bool:
        """Wait until one of the streams may have an entry beyond its id, at most *block_ms*. Takes nothing. True: it
        has one."""
        return await self.server.wait(after, block_ms=block_ms)

    async def last_ids(self, keys: Sequence[str]) -> dict[str, str]:
        """The id of the last entry that each of *keys* ever had."""
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            pipe.xinfo_stream(key)
        return {key: text(info["last-generated-id"]) for key, info in zip(keys, await pipe.execute(), strict=True)}

    async def _answers(self, commands: Sequence[Keyed]) -> list[Any]:
        """The answers to *commands*. After an error of one node, what the others answered is in the history."""
        try:
            return await self.server.run(commands)
        except redis_errors.ResponseError as exc:
            word, *told = str(exc).split()
            if word != "STALE":
                raise
            raise StaleRead(partition_in(told[0]), int(told[1])) from None

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

    async def positions(self, keys: Sequence[str]) -> dict[str, dict[str, str]]:
        """Stream -> group -> the id of the entry that was last delivered to it. Streams that are not there have no
        groups."""
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            pipe.xinfo_groups(key)
        found: dict[str, dict[str, str]] = {}
        for key, groups in zip(keys, await pipe.execute(raise_on_error=False), strict=True):
            if not isinstance(groups, Exception):
                found[key] = {text(group["name"]): text(group["last-delivered-id"]) for group in groups}
            elif "no such key" not in str(groups):
                raise groups
        return found

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
                if text(info["name"]) == group:
                    pending += int(info["pending"])
                    unread = -1 if info.get("lag") is None or unread < 0 else unread + int(info["lag"])
        return unread, pending


def _entries(answer: Any) -> list[StreamEntry]:
    """Of a script's answer: what is a map for the server is a list there."""
    return [
        StreamEntry(key, text(entry_id), dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {})
        for key, entries in ((text(key), entries) for key, entries in answer or ())
        for entry_id, flat in entries
    ]
