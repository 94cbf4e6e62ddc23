"""How far every group of every stream is, what waits there, and the removal of streams that no group needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from adapters.redis.values import parsed_id, text

Entry: TypeAlias = tuple[str, Mapping[bytes, bytes]]
"""(id, fields)."""

PAGE: Final = 500
BEGINNING: Final = "0-0"

# KEYS: a stream. ARGV: the id of its last entry when it was looked at. What was appended since stays, so this may be
# repeated, and be late.
_FORGET: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local info, last = redis.call('XINFO', 'STREAM', KEYS[1]), nil
for i = 1, #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1] end end
if last == ARGV[1] then return redis.call('UNLINK', KEYS[1]) end
local ms, sequence = string.match(ARGV[1], '^(%d+)-(%d+)$')
redis.call('XTRIM', KEYS[1], 'MINID', ms .. '-' .. string.format('%d', sequence + 1))
return 0
"""


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a group is: the last entry it has read, how many it has not acknowledged, how many it has not read."""

    delivered: str
    pending: int
    unread: int


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream that exists."""

    key: str
    entries: int
    last_id: str
    groups: Mapping[str, Reached]

    def waiting(self, group: str) -> tuple[int, int]:
        """(entries that *group* has not read, entries that it has read and not acknowledged). A group that was never
        made has read nothing."""
        reached = self.groups.get(group)
        return (self.entries, 0) if reached is None else (reached.unread, reached.pending)


async def states(redis: Redis, keys: Sequence[str]) -> dict[str, StreamState]:
    """Those of *keys* that exist. Raises: redis errors, OSError, TimeoutError."""
    pipe = redis.pipeline(transaction=False)
    for key in keys:
        pipe.xinfo_stream(key)
        pipe.xinfo_groups(key)
    answers: list[Any] = await pipe.execute(raise_on_error=False)
    found: dict[str, StreamState] = {}
    for key, info, groups in zip(keys, answers[::2], answers[1::2], strict=True):
        for answer in (info, groups):
            if isinstance(answer, Exception) and not _no_such_key(answer):
                raise answer
        if not isinstance(info, Exception) and not isinstance(groups, Exception):
            reached = {text(group["name"]): await _reached(redis, key, group) for group in groups}
            found[key] = StreamState(key, int(info["length"]), text(info["last-generated-id"]), reached)
    return found


async def unacknowledged(redis: Redis, state: StreamState, group: str) -> AsyncIterator[list[Entry]]:
    """What *group* has not acknowledged, in the order of the stream, page by page, up to where it was looked at.

    Raises: redis errors, OSError, TimeoutError.
    """
    reached = state.groups.get(group)
    pending = await _pending(redis, state.key, group) if reached is not None and reached.pending else set()
    delivered = parsed_id(BEGINNING if reached is None else reached.delivered)
    start = min([delivered, *map(parsed_id, pending)])
    after = f"{start[0]}-{start[1]}"
    while page := await _range(redis, state.key, after, state.last_id):
        yield [(id, fields) for id, fields in page if id in pending or parsed_id(id) > delivered]
        after = f"({page[-1][0]}"


async def _pending(redis: Redis, key: str, group: str) -> set[str]:
    found: set[str] = set()
    after = "-"
    while True:
        page: Any = await redis.xpending_range(key, group, min=after, max="+", count=PAGE)
        if not page:
            return found
        found.update(text(one["message_id"]) for one in page)
        after = f"({text(page[-1]['message_id'])}"


async def forget(redis: Redis, last_ids: Mapping[str, str]) -> None:
    """Remove streams, each with everything up to the id given; repeating it is harmless, also when it is late.

    Raises: redis errors, OSError, TimeoutError.
    """
    pipe = redis.pipeline(transaction=False)
    for key, last_id in last_ids.items():
        pipe.execute_command("EVAL", _FORGET, 1, key, last_id)
    if last_ids:
        await pipe.execute()


async def _reached(redis: Redis, key: str, group: Mapping[str, Any]) -> Reached:
    delivered, lag = text(group["last-delivered-id"]), group.get("lag")
    if lag is None:  # entries were deleted, and the server no longer keeps count
        lag = await _count(redis, key, delivered)
    return Reached(delivered, int(group["pending"]), int(lag))


async def _range(redis: Redis, key: str, first: str, last: str) -> list[Entry]:
    page: Any = await redis.xrange(key, min=first, max=last, count=PAGE)
    return [(text(entry_id), fields) for entry_id, fields in page]


async def _count(redis: Redis, key: str, after: str) -> int:
    count = 0
    while page := await _range(redis, key, f"({after}", "+"):
        count, after = count + len(page), page[-1][0]
    return count


def _no_such_key(error: Exception) -> bool:
    return isinstance(error, redis_errors.ResponseError) and "no such key" in str(error)
