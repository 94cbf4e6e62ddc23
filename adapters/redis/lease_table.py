"""The table of members and leases in Redis. Every step is one script, so two processes never see half of one.

Times are the server's own, so the processes' clocks do not matter. A lease that is not renewed within its time is free.
The server's clock may step back. An end that then lies further away than a whole term is brought to a term from now: a
dead owner's lease runs out, and a living owner keeps its own by renewing it.
The epoch that makes a stale owner harmless is not here but in Postgres, beside the results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast
from uuid import uuid4

from redis.asyncio import Redis

MEMBERS: Final = "ferryman:{bus}:members"
LEASES: Final = "ferryman:{bus}:leases"
BORN: Final = "ferryman:{bus}:born"

Pair: TypeAlias = tuple[str, int]
"""(worker, partition)."""

# KEYS: members, leases, born. ARGV: me with its workers, ttl in ms (0: I leave), number of renewals, a name for a table
# that has none, whether to renew also what is not there ("1"), renewals..., releases...
_TICK: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local me, ttl, renewals = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if ttl > 0 then redis.call('ZADD', KEYS[1], now + ttl, me) else redis.call('ZREM', KEYS[1], me) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if ttl > 0 then
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%d', now + ttl), '+inf')) do
    redis.call('ZADD', KEYS[1], now + ttl, member)
  end
end
local id = string.match(me, '^[^|]+')
local born = redis.call('GET', KEYS[3])
if not born then
  born = ARGV[4]
  redis.call('SET', KEYS[3], born)
end
for i = 6, #ARGV do
  local value = redis.call('HGET', KEYS[2], ARGV[i])
  if (value and string.match(value, '^[^|]+') == id) or (not value and ARGV[5] == '1') then
    if i < 6 + renewals and ttl > 0 then
      redis.call('HSET', KEYS[2], ARGV[i], id .. '|' .. string.format('%d', now + ttl))
    else
      redis.call('HDEL', KEYS[2], ARGV[i])
    end
  end
end
local all, live = redis.call('HGETALL', KEYS[2]), {}
for i = 1, #all, 2 do
  local owner, till = string.match(all[i + 1], '^([^|]+)|(%d+)$')
  if tonumber(till) <= now then
    redis.call('HDEL', KEYS[2], all[i])
  else
    if ttl > 0 and tonumber(till) > now + ttl then
      redis.call('HSET', KEYS[2], all[i], owner .. '|' .. string.format('%d', now + ttl))
    end
    live[#live + 1] = all[i]
    live[#live + 1] = owner
  end
end
return {redis.call('ZRANGE', KEYS[1], 0, -1), live, born}
"""

# KEYS: leases. ARGV: my id, ttl in ms, fields... Returns the fields that are mine now.
_ACQUIRE: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local mine = {}
for i = 3, #ARGV do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if not value or tonumber(string.match(value, '|(%d+)$')) <= now then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[1] .. '|' .. string.format('%d', now + tonumber(ARGV[2])))
    mine[#mine + 1] = ARGV[i]
  end
end
return mine
"""

# KEYS: members, leases. Changes nothing.
_LOOK: Final = """
return {
  redis.call('TIME'),
  redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'),
  redis.call('HGETALL', KEYS[2]),
}
"""


@dataclass(frozen=True, slots=True)
class Table:
    """What the table held at one moment. *members*: id -> the workers it runs. *owners*: pair -> id of its live
    owner. *born*: another name than before says that the table was lost in between."""

    members: Mapping[str, frozenset[str]]
    owners: Mapping[Pair, str]
    born: str = ""


class LeaseTable:
    """The table as one process uses it. Every method raises redis errors, OSError or TimeoutError when Redis is
    away."""

    def __init__(self, redis: Redis, me: str, workers: Iterable[str], ttl_s: float) -> None:
        self._redis = redis
        self._me = me
        self._entry = f"{me}|{','.join(sorted(workers))}"
        self._ttl_ms = int(ttl_s * 1000)

    async def tick(self, renew: Sequence[Pair], release: Sequence[Pair], *, certain: bool = False) -> Table:
        """Say that we live, renew and release, and see the whole table. *certain*: what we renew is ours by our own
        clock, so where nothing is in its place the table was lost, and it is ours all the same."""
        return await self._tick(self._ttl_ms, renew, release, certain=certain)

    async def retire(self) -> None:
        """Want nothing more, and go on renewing what is still held until it is released."""
        before, self._entry = self._entry, f"{self._me}|"
        await self._redis.zrem(MEMBERS, before)

    async def leave(self, held: Sequence[Pair]) -> None:
        """Release everything and be a member no more."""
        await self._tick(0, (), held)

    async def _tick(
        self, ttl_ms: int, renew: Sequence[Pair], release: Sequence[Pair], *, certain: bool = False
    ) -> Table:
        fields = [_field(pair) for pair in (*renew, *release)]
        told = self._entry, ttl_ms, len(renew), uuid4().hex, int(certain)
        answer: Any = await self._redis.eval(_TICK, 3, MEMBERS, LEASES, BORN, *told, *fields)
        members, flat, born = answer
        parted = (entry.decode().split("|", 1) for entry in members)
        return Table(
            {member: frozenset(workers.split(",")) for member, workers in parted},
            {_pair(flat[i]): flat[i + 1].decode() for i in range(0, len(flat), 2)},
            born.decode(),
        )

    async def acquire(self, wanted: Sequence[Pair]) -> list[Pair]:
        """Take those of *wanted* that no member holds; returns them."""
        fields = [_field(pair) for pair in wanted]
        answer: Any = await self._redis.eval(_ACQUIRE, 1, LEASES, self._me, self._ttl_ms, *fields)
        return [_pair(field) for field in answer]


async def forget_all(redis: Redis) -> None:
    """Drop every member and lease: only where no other process can be using this Redis."""
    await redis.delete(MEMBERS, LEASES)


async def read_table(redis: Redis) -> Table:
    """The table as it is, of the living members; changes nothing. Raises redis errors, OSError or TimeoutError."""
    (seconds, micros), listed, flat = await cast("Any", redis).eval(_LOOK, 2, MEMBERS, LEASES)
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    members = zip(listed[::2], listed[1::2], strict=True)
    parted = (entry.decode().split("|", 1) for entry, until_ms in members if float(until_ms) > now_ms)
    held = ((_pair(flat[i]), *flat[i + 1].decode().split("|")) for i in range(0, len(flat), 2))
    return Table(
        {member: frozenset(filter(None, workers.split(","))) for member, workers in parted},
        {pair: owner for pair, owner, until_ms in held if int(until_ms) > now_ms},
    )


def _field(pair: Pair) -> str:
    return f"{pair[0]}/{pair[1]}"


def _pair(field: bytes) -> Pair:
    worker, _, partition = field.decode().rpartition("/")
    return worker, int(partition)
