"""What Redis holds about a person: entries of the streams, found by looking at all of them, and taken off."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Final, cast

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from adapters.redis.streams import StreamEntry, stream_keys
from adapters.redis.values import text
from schemas.envelope import TOPICS

PAGE: Final = 500
KEYS: Final = "ferryman:*"

_READ: Final[dict[str, str]] = {
    "string": "GET",
    "hash": "HGETALL",
    "list": "LRANGE",
    "set": "SMEMBERS",
    "zset": "ZRANGE",
}


async def entries(redis: Redis, partitions: int, wanted: Callable[[StreamEntry], bool]) -> AsyncIterator[StreamEntry]:
    """The entries of all streams that are *wanted*."""
    for key in stream_keys(TOPICS, range(partitions)):
        after = "-"
        while page := cast("Any", await redis.xrange(key, min=after, count=PAGE)):
            for entry_id, fields in page:
                entry = StreamEntry(key, text(entry_id), fields)
                if wanted(entry):
                    yield entry
            after = f"({text(page[-1][0])}"


async def remove(redis: Redis, found: Sequence[StreamEntry]) -> int:
    """Take *found* off their streams, for every group; returns how many were there."""
    by_key: dict[str, list[str]] = {}
    for entry in found:
        by_key.setdefault(entry.key, []).append(entry.id)
    gone = 0
    for key, ids in by_key.items():
        for group in await redis.xinfo_groups(key):
            await redis.xack(key, text(group["name"]), *ids)
        gone += int(await redis.xdel(key, *ids))
    return gone


async def named(redis: Redis, pattern: re.Pattern[str]) -> list[str]:
    """The kinds of keys (`ferryman:KIND`) whose name or value has *pattern*, each as often as it does. Streams are
    looked at by `entries`."""
    found: list[str] = []
    async for key in redis.scan_iter(match=KEYS, count=PAGE):
        name = text(key)
        kind = text(await redis.type(key))
        said = "" if kind not in _READ else _said(await _value(redis, kind, name))
        if pattern.search(name) or pattern.search(said):
            found.append(":".join(name.split(":")[:2]))
    return found


async def _value(redis: Redis, kind: str, name: str) -> Any:
    more = ("0", "-1") if kind in ("list", "zset") else ()
    try:
        return await cast("Any", redis).execute_command(_READ[kind], name, *more)
    except redis_errors.ResponseError:  # it is of another kind by now
        return None


def _said(value: Any) -> str:
    """All words in *value*, whatever it is made of."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, dict):
        return " ".join(_said(part) for pair in value.items() for part in pair)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return " ".join(map(_said, value))
    return "" if value is None else str(value)


async def forget_deleted(redis: Redis) -> bool:
    """Have the server write its log of commands anew, in the background, so that it holds no deleted entry. False where
    it may not be asked, or keeps no such log."""
    try:
        await cast("Any", redis).execute_command("BGREWRITEAOF")
    except redis_errors.RedisError:
        return False
    return True
