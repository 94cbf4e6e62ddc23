"""The scripts of the rate limit: each decides in one step, on the server's clock.

All times and scores are µs of that clock. A waiting call stands in a sorted set by its arrival; its rank there tells
when its place comes, so a place needs no entry of its own until it is taken, and the calls behind one that is gone move
up by themselves.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal[
    "taken", "pause", "refusals", "hold", "live", "bulk", "seen", "pace", "bulk_taken", "eased", "resumed"
]
KINDS: Final[tuple[Kind, ...]] = ("taken", "pause", "hold", "live", "bulk", "seen", "pace", "bulk_taken", "eased")
"""The keys of a scope, in the order in which the scripts are given them."""

REGAINED_S: Final = 60.0
"""A limit that was eased grows by its whole amount in so many seconds, until it is whole again."""

# What a limit of amount in a window (µs) allows after refusals have eased it: see `adapters.redis.eased.allowed`.
_ALLOWED: Final = f"""
local function allowed(eased, amount, window, now)
  local least = math.min(amount, math.ceil(window / 1000000))
  local had = redis.call('HMGET', eased, 'cut', 'at')
  if not had[1] then return amount, least end
  local grown = had[1] + amount * math.max(0, now - had[2]) / {REGAINED_S * 1e6:.0f}
  return math.max(least, math.min(amount, math.floor(grown))), least
end
"""

_COMMON: Final = (
    _ALLOWED
    + """
local taken, pause, hold, live, bulk, seen, pace, bulk_taken, eased = unpack(KEYS)
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local amount, window, silent, process, last = tonumber(ARGV[1]), ARGV[2] * 1000, ARGV[3] * 1000, ARGV[4], ARGV[5]
amount = allowed(eased, amount, window, now)
local for_bulk = math.max(1, amount - math.max(1, math.floor(amount / 40))) -- the rest is kept for live calls
local paused = math.max(0, redis.call('PTTL', pause)) * 1000
local mending = math.max(0, redis.call('PTTL', hold)) * 1000

local function whole(number) return string.format('%.0f', number) end

local function line_of(class) return class == 'bulk' and bulk or live end

local function spacing_of(class) return window / (class == 'bulk' and for_bulk or amount) end

local function score_of(score, age)
  return tonumber(score) ~= 0 and tonumber(score) or now - age
end

local function forget(line)
  for _, name in ipairs(redis.call('ZRANGE', line, 0, -1)) do
    if not redis.call('ZSCORE', seen, string.match(name, '^[^:]*')) then redis.call('ZREM', line, name) end
  end
end

local function drop_silent()
  if redis.call('ZREMRANGEBYSCORE', seen, '-inf', whole(now - silent)) > 0 then
    forget(live)
    forget(bulk)
  end
end

local function stand(class, score, name)
  redis.call('ZADD', line_of(class), whole(score), name)
  redis.call('PEXPIRE', line_of(class), ARGV[3])
  redis.call('ZADD', seen, whole(now), process)
  redis.call('PEXPIRE', seen, ARGV[3])
end

-- The waiting calls of a process, from this argument on: class, name, score and age of each.
local function stand_all(first)
  for i = first, #ARGV, 4 do
    local name = ARGV[i + 1]
    if not redis.call('ZSCORE', taken, name) then stand(ARGV[i], score_of(ARGV[i + 2], ARGV[i + 3]), name) end
  end
end

local function place(class, name, at)
  for _, places in ipairs({taken, class == 'bulk' and bulk_taken or nil}) do
    redis.call('ZADD', places, 'NX', whole(at), name)
    redis.call('PEXPIRE', places, ARGV[2] + ARGV[3])
  end
end

local function set_pace(class, at)
  redis.call('HSET', pace, class, whole(at))
  redis.call('PEXPIRE', pace, math.max(ARGV[2], math.ceil((at - now) / 1000) + ARGV[3]))
end

local function free()
  local oldest = redis.call('ZRANGE', taken, -amount, -amount, 'WITHSCORES')[2]
  return not oldest or oldest + window <= now
end

-- Tells of each rank from 0 to most when its call has its place, where no more than room are taken in a window: when
-- the place that it follows leaves the window, and a spacing behind the rank before. The first is due at next, which is
-- past for places that were not used. Behind a place that was taken late the others follow a little faster, or each
-- delay would last. As long as other processes may yet tell of places that this server has lost, none is given sooner
-- than a spacing behind the last that is known.
local function plan(most, room, next, spacing)
  if mending > 0 then
    local newest = redis.call('ZRANGE', taken, -1, -1, 'WITHSCORES')[2] or 0
    next = math.max(next, math.min(newest + spacing, now + mending))
  end
  local count, leaves, at = redis.call('ZCARD', taken), {}, 0
  local first, final = math.max(0, room - count), math.min(most, room - 1)
  if first <= final then
    local old = redis.call('ZRANGE', taken, count + first - room, count + final - room, 'WITHSCORES')
    for i = 2, #old, 2 do
      at = math.max(at + spacing * 0.9, old[i] + window)
      leaves[first + i / 2 - 1] = at
    end
  end
  return function(rank)
    local beyond = math.max(0, rank - room + 1) -- so many take places that are not given yet
    local due = next + rank * spacing
    if beyond > 0 then due = math.max(due, now + beyond * spacing) end
    return math.max(due, (leaves[rank - beyond] or 0) + beyond * spacing * 0.9)
  end
end

-- Whether live calls, coming as in the last window, find their places in the next one, and the kept ones remain.
local function live_has_enough(rank)
  local count = redis.call('ZCOUNT', taken, '(' .. whole(now - window), '+inf')
  redis.call('ZREMRANGEBYSCORE', bulk_taken, '-inf', whole(now - window))
  local expected = count - redis.call('ZCARD', bulk_taken)
  for step = 0, 8 do
    local part = step / 8
    local freed = redis.call('ZCOUNT', taken, '(' .. whole(now - window), whole(now - window + part * window))
    if for_bulk - count - 1 - rank + freed < expected * part then return false end
  end
  return true
end

-- Tells of each rank from 0 to most of a line when its call has its place by the order alone, and when it is worth
-- asking. Bulk goes behind all live calls that wait, and asks again after a spacing.
local function schedule(class, most)
  local spacing = spacing_of(class)
  local next = tonumber(redis.call('HGET', pace, class) or '0')
  if class == 'live' then
    local due = plan(most, amount, next, spacing)
    return function(rank)
      local at = due(rank)
      return at, paused > 0 and math.max(at, now + paused + rank * spacing) or at
    end
  end
  local before = redis.call('ZCARD', live)
  local due = plan(most + before, for_bulk, math.max(next, now - 2 * spacing), spacing)
  return function(rank)
    local at = due(rank + before)
    local asked = math.max(at, now + paused)
    if before > 0 or (asked <= now and not live_has_enough(rank)) then
      asked = math.max(asked, now + (rank + 1) * spacing)
    end
    return at, asked
  end
end
"""
)

# Places that have left the window stay for a while: the calls that follow them were told their time by them.
_KNOWN: Final = """
if last ~= '' and not redis.call('ZSCORE', taken, last) then return {3, 0, 0} end
redis.call('ZREMRANGEBYSCORE', taken, '-inf', whole(now - 2 * window))
"""

# Answers {0, 0, score} taken, {1, ms, score} full for ms, {2, ms, score} paused for ms, {3, 0, 0} this server has lost
# the caller's last place. score: the arrival, to come back with. A call that would wait for longer than it can (ARGV
# 10) is not let into the line.
TAKE: Final = (
    _COMMON
    + _KNOWN
    + """
local class, name, score = ARGV[6], ARGV[7], score_of(ARGV[8], ARGV[9])
local line = line_of(class)
local waiting, rank = redis.call('ZCARD', line), 0
if waiting > 0 then
  drop_silent()
  rank = redis.call('ZRANK', line, name) or redis.call('ZCOUNT', line, '-inf', whole(score))
end
local at, asked = now, now
if class == 'bulk' or waiting > 0 or paused > 0 or mending > 0 or not free() then
  at, asked = schedule(class, rank)(rank)
end
if asked <= now then
  place(class, name, now)
  if waiting > 0 then redis.call('ZREM', line, name) end
  if waiting > 0 or class == 'bulk' then set_pace(class, at + (1 - rank) * spacing_of(class)) end
  return {0, 0, score}
end
local code, wait = paused > 0 and 2 or 1, math.ceil((asked - now) / 1000)
if wait > tonumber(ARGV[10]) then
  redis.call('ZREM', line, name)
  return {code, wait, score}
end
if class == 'live' and waiting == 0 then
  set_pace(class, math.max(now + paused, tonumber(redis.call('HGET', pace, class) or '0')))
end
stand(class, score, name)
return {code, wait, score}
"""
)

# ARGV 6 names of calls that have left follow, then the calls that wait. Answers {2, ms, 0} paused or {0, 0, 0}, then
# {ms, score} of each.
LOOK: Final = (
    _COMMON
    + _KNOWN
    + """
local first = 7 + ARGV[6]
for i = 7, first - 1 do
  redis.call('ZREM', live, ARGV[i])
  redis.call('ZREM', bulk, ARGV[i])
end
stand_all(first)
drop_silent()
local answer = {paused > 0 and 2 or 0, math.ceil(paused / 1000), 0}
local due = {live = schedule('live', redis.call('ZCARD', live)), bulk = schedule('bulk', redis.call('ZCARD', bulk))}
for i = first, #ARGV, 4 do
  local class, name = ARGV[i], ARGV[i + 1]
  local _, asked = due[class](redis.call('ZRANK', line_of(class), name) or 0)
  answer[#answer + 1] = math.max(0, math.ceil((asked - now) / 1000))
  answer[#answer + 1] = redis.call('ZSCORE', line_of(class), name) or '0'
end
return answer
"""
)

# A process tells what it knows and this server has lost: the ms of a pause (ARGV 7), class, name and age of the places
# that it took (ARGV 8: how many), and its calls that wait. For some ms (ARGV 6) other processes have yet to tell.
RESTORE: Final = (
    _COMMON
    + """
local first = 9 + 3 * ARGV[8]
for i = 9, first - 1, 3 do place(ARGV[i], ARGV[i + 1], now - ARGV[i + 2]) end
stand_all(first)
redis.call('SET', hold, '1', 'NX', 'PX', ARGV[6])
if ARGV[7] * 1000 > paused then redis.call('SET', pause, '1', 'PX', ARGV[7]) end
return 0
"""
)

# Answers the ms that the pause now lasts. Several calls refused together are one refusal: they don't double the pause,
# nor halve what the limit (ARGV 5, 6) allows. The calls that wait go one after the other behind its end.
PAUSE: Final = (
    _ALLOWED
    + """
local left = redis.call('PTTL', KEYS[1])
local ms = tonumber(ARGV[1])
if left <= 0 then
  local clock = redis.call('TIME')
  local now = clock[1] * 1000000 + clock[2]
  local amount, least = allowed(KEYS[4], tonumber(ARGV[5]), ARGV[6] * 1000, now)
  redis.call('HSET', KEYS[4], 'cut', math.max(least, math.floor(amount / 2)), 'at', string.format('%.0f', now))
  redis.call('PEXPIRE', KEYS[4], ARGV[7])
end
if ms == 0 then
  if left > 0 then return left end
  local times = redis.call('INCR', KEYS[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
  ms = math.min(tonumber(ARGV[3]), tonumber(ARGV[2]) * 2 ^ (times - 1))
end
if ms <= left then return left end
redis.call('SET', KEYS[1], '1', 'PX', string.format('%.0f', ms))
if redis.call('EXISTS', KEYS[3]) == 1 then
  local clock = redis.call('TIME')
  local ends = clock[1] * 1000000 + clock[2] + ms * 1000
  if ends > tonumber(redis.call('HGET', KEYS[3], 'live') or '0') then
    redis.call('HSET', KEYS[3], 'live', string.format('%.0f', ends))
  end
  redis.call('PEXPIRE', KEYS[3], string.format('%.0f', ms + ARGV[4]))
end
return math.floor(ms)
"""
)


def key(kind: Kind, scope: str) -> str:
    """The key of Redis that holds this of *scope*."""
    # The braces are a cluster hash tag: one script touches several keys of a scope.
    return f"ferryman:{kind}:{{{scope}}}"
