"""The scripts of the rate limit: each decides in one step, on the server's clock."""

from __future__ import annotations

from typing import Final

# Answers {0, 0} taken, {1, ms} full for ms, {2, ms} paused for ms. The list holds the last places, newest
# first, in µs.
TAKE: Final = """
local paused = redis.call('PTTL', KEYS[2])
if paused > 0 then return {2, paused} end
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local amount, window = tonumber(ARGV[1]), tonumber(ARGV[2]) * 1000
local oldest = tonumber(redis.call('LINDEX', KEYS[1], amount - 1) or '0')
if oldest > 0 and oldest + window > now then return {1, math.ceil((oldest + window - now) / 1000)} end
redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
redis.call('LTRIM', KEYS[1], 0, amount - 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {0, 0}
"""

# Answers the ms that the pause now lasts. Several calls refused together are one refusal: they don't double
# the pause.
PAUSE: Final = """
local left = redis.call('PTTL', KEYS[1])
local ms = tonumber(ARGV[1])
if ms == 0 then
  if left > 0 then return left end
  local times = redis.call('INCR', KEYS[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
  ms = math.min(tonumber(ARGV[3]), tonumber(ARGV[2]) * 2 ^ (times - 1))
end
if ms <= left then return left end
redis.call('SET', KEYS[1], '1', 'PX', string.format('%.0f', ms))
return math.floor(ms)
"""
