"""How often one account may write to one person, shared by all processes through Redis.

Meta takes a message to a person every *spacing_s*, and a burst of up to *burst* messages within *burst_s* seconds that
is borrowed: nothing more is taken of the pair until each message of the burst has had its spacing. So the script keeps
until when all that was sent is paid for. A pair that has paid may begin a burst; one in the first *burst_s* seconds of
it may go on; any other waits. Where Meta refuses all the same, the pair waits 1, 4, 16, … seconds for the same message,
as Meta asks.

A message that was let through once is let through again: it may have to wait for its account meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, NamedTuple

from redis.asyncio import Redis

from adapters.redis.limit_server import LimitServer

LONGEST_REFUSED_S: Final = 256.0

_KEEP_S: Final = 600.0
"""For so long after all is paid for a pair is remembered, for the count of its refusals."""

# ARGV: the message, spacing, burst, its length, how long to keep. Times in ms. Answers the ms to wait, 0: it may go.
_TAKE: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local had = redis.call('HMGET', KEYS[1], 'message', 'began', 'count', 'paid')
if had[1] == ARGV[1] then return 0 end
local began, count, paid = tonumber(had[2] or 0), tonumber(had[3] or 0), tonumber(had[4] or 0)
if now >= paid then
  began, count, paid = now, 0, now
elseif now - began >= tonumber(ARGV[4]) or count >= tonumber(ARGV[3]) then
  return paid - now
end
paid = paid + ARGV[2]
redis.call('HSET', KEYS[1], 'message', ARGV[1], 'began', string.format('%.0f', began), 'count', count + 1,
  'paid', string.format('%.0f', paid))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', paid - now + ARGV[5]))
return 0
"""

# ARGV: the message, the longest wait, how long to keep. Answers the ms to wait. The burst is over.
_REFUSED: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local had = redis.call('HMGET', KEYS[1], 'refused', 'times')
local times = had[1] == ARGV[1] and tonumber(had[2]) or 0
local wait = math.min(tonumber(ARGV[2]), 1000 * 4 ^ times)
redis.call('HSET', KEYS[1], 'refused', ARGV[1], 'times', times + 1, 'message', '', 'began', 0,
  'paid', string.format('%.0f', now + wait))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', wait + ARGV[3]))
return math.ceil(wait)
"""


class Pace(NamedTuple):
    """A message every *spacing_s*; *burst* of them within *burst_s*, which are paid for afterwards."""

    spacing_s: float
    burst: int
    burst_s: float


class PairLimit:
    """The pairs of one provider. While Redis is away every message may go: the provider's own refusals then slow its
    pair. *clock*: monotonic seconds."""

    def __init__(self, redis: Redis, pace: Pace, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace = pace
        self._server = LimitServer(redis, clock)

    async def wait_s(self, scope: str, line: str, message: str) -> float:
        """0 where *message* may go to *line* now, and is counted; else the seconds until it is worth asking again.
        *scope*: the account."""
        spacing, burst, burst_s = self._pace
        args = (message, _ms(spacing), burst, _ms(burst_s), _ms(_KEEP_S))
        answer = await self._server.run(_TAKE, (_key(scope, line),), args)
        return 0.0 if answer is None else int(answer) / 1000

    async def refused(self, scope: str, line: str, message: str) -> float:
        """The provider has refused *message* as coming too soon; returns the seconds until it is worth trying."""
        args = (message, _ms(LONGEST_REFUSED_S), _ms(_KEEP_S))
        answer = await self._server.run(_REFUSED, (_key(scope, line),), args)
        return self._pace.spacing_s if answer is None else int(answer) / 1000


def _key(scope: str, line: str) -> str:
    """Without the phone in it: keys are shown by many tools."""
    return f"ferryman:pair:{blake2b(f'{scope} {line}'.encode(), digest_size=16).hexdigest()}"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
