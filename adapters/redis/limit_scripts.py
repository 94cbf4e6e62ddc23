"""The scripts of the rate limit: each decides in one step, on the server's clock.

All times and scores are µs of that clock. A waiting call stands in a sorted set by its arrival; its rank there tells
when its place comes, so a place needs no entry of its own until it is taken, and the calls behind one that is gone move
up by themselves.
"""

from __future__ import annotations

from typing import Final

_COMMON: Final = """
local taken, pause, hold, live, bulk, seen, pace, bulk_taken = unpack(KEYS)
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local amount, window, silent, process, last = tonumber(ARGV[1]), ARGV[2] * 1000, ARGV[3] * 1000, ARGV[4], ARGV[5]
local kept = math.min(math.max(1, math.floor(amount / 40)), amount - 1)

local function whole(number) return string.format('%.0f', number) end

local function forget(line)
  for _, name in ipairs(redis.call('ZRANGE', line, 0, -1)) do
    local owner = string.match(name, '^[^:]*')
    if not redis.call('ZSCORE', seen, owner) then redis.call('ZREM', line, name) end
  end
end

local function drop_silent()
  if redis.call('ZREMRANGEBYSCORE', seen, '-inf', whole(now - silent)) > 0 then
    forget(live)
    forget(bulk)
  end
end

local function stand(line, score, name)
  redis.call('ZADD', line, whole(score), name)
  redis.call('PEXPIRE', line, ARGV[3])
  redis.call('ZADD', seen, whole(now), process)
  redis.call('PEXPIRE', seen, ARGV[3])
end

local function set_pace(of, at)
  redis.call('HSET', pace, of, whole(at))
  redis.call('PEXPIRE', pace, math.max(ARGV[2], math.ceil((at - now) / 1000) + ARGV[3]))
end

local function free()
  if redis.call('ZCARD', taken) < amount then return true end
  return redis.call('ZRANGE', taken, 0, 0, 'WITHSCORES')[2] + window <= now
end

local function held()
  local paused, mending = redis.call('PTTL', pause), redis.call('PTTL', hold)
  return math.max(paused, mending, 0) * 1000, paused > 0 and 2 or 1
end

-- When the call of this rank has its place, if no more than room are taken in a window, and those that wait
-- follow each other after a spacing. It is in the past for a place that was not used. Behind a place that was taken
-- late they follow a little faster, or each delay would last.
local function due(rank, room, next, spacing)
  local at = next + rank * spacing
  if rank >= room then at = math.max(at, now + (rank - room + 1) * spacing) end -- those before it take all that is free
  local count = redis.call('ZCARD', taken)
  local first, final = math.max(0, room - count), math.min(rank, room - 1)
  if final >= first then
    local old = redis.call('ZRANGE', taken, count + first - room, count + final - room, 'WITHSCORES')
    for i = 2, #old, 2 do
      at = math.max(at, old[i] + window + (rank - first - i / 2 + 1) * spacing * 0.9)
    end
  end
  return at
end

-- Whether live calls, coming as in the last window, find their places in the next one, and the kept ones remain.
local function live_has_enough(rank)
  local count = redis.call('ZCOUNT', taken, '(' .. whole(now - window), '+inf')
  redis.call('ZREMRANGEBYSCORE', bulk_taken, '-inf', whole(now - window))
  local expected = count - redis.call('ZCARD', bulk_taken)
  for step = 0, 8 do
    local part = step / 8
    local freed = redis.call('ZCOUNT', taken, '(' .. whole(now - window), whole(now - window + part * window))
    if amount - kept - count - 1 - rank + freed < expected * part then return false end
  end
  return true
end

local function spacing_of(class)
  return window / (class == 'bulk' and math.max(1, amount - kept) or amount)
end

-- When the call of this class and rank has its place, by the order alone; and when it is worth asking.
local function due_of(class, rank, paused)
  local spacing = spacing_of(class)
  local next = tonumber(redis.call('HGET', pace, class) or '0')
  if class == 'live' then
    local at = due(rank, amount, next, spacing)
    return at, paused > 0 and math.max(at, now + paused + rank * spacing) or at
  end
  local waiting = redis.call('ZCARD', live)
  local at = due(rank + waiting, math.max(1, amount - kept), math.max(next, now - 2 * spacing), spacing)
  local asked = math.max(at, now + paused)
  if waiting > 0 then asked = math.max(asked, due(waiting, amount, 0, window / amount), now + (rank + 1) * spacing)
  elseif asked <= now and not live_has_enough(rank) then asked = now + (rank + 1) * spacing end
  return at, asked
end

if last ~= '' and not redis.call('ZSCORE', taken, last) then return {3, 0, 0} end

-- Places that have left the window stay for a while, as long as they are among the last: the calls that follow them
-- were told their time by them.
redis.call('ZREMRANGEBYSCORE', taken, '-inf', whole(now - 2 * window))
redis.call('ZREMRANGEBYRANK', taken, 0, -amount - 1)
"""

# Answers {0, 0, score} taken, {1, ms, score} full for ms, {2, ms, score} paused for ms, {3, 0, 0} this server has lost
# the caller's last place. score: the arrival, to come back with. A call that would wait for longer than it can (ARGV
# 10) is not let into the line.
TAKE: Final = (
    _COMMON
    + """
local class, name, score = ARGV[6], ARGV[7], tonumber(ARGV[8])
if score == 0 then score = now - ARGV[9] end
local line = class == 'bulk' and bulk or live
local waiting = redis.call('ZCARD', line)
local rank = 0
if waiting > 0 then
  drop_silent()
  rank = redis.call('ZRANK', line, name) or redis.call('ZCOUNT', line, '-inf', whole(score))
end
local paused, code = held()
local at, asked
if class == 'live' and waiting == 0 and paused == 0 and free() then
  at, asked = now, now
else
  at, asked = due_of(class, rank, paused)
end
if asked <= now then
  redis.call('ZADD', taken, whole(now), name)
  redis.call('PEXPIRE', taken, ARGV[2])
  if waiting > 0 then redis.call('ZREM', line, name) end
  if class == 'bulk' then
    redis.call('ZADD', bulk_taken, whole(now), name)
    redis.call('PEXPIRE', bulk_taken, ARGV[2])
  end
  if waiting > 0 or class == 'bulk' then set_pace(class, at + (1 - rank) * spacing_of(class)) end
  return {0, 0, score}
end
local wait = math.ceil((asked - now) / 1000)
if wait > tonumber(ARGV[10]) then
  redis.call('ZREM', line, name)
  return {code, wait, score}
end
if class == 'live' and waiting == 0 then
  set_pace(class, math.max(now + paused, tonumber(redis.call('HGET', pace, class) or '0')))
end
stand(line, score, name)
return {code, wait, score}
"""
)

# ARGV 6 names that have left follow, then class, name, score, age of each call that waits. Answers {code, paused ms,
# 0}, then {ms, score} of each.
LOOK: Final = (
    _COMMON
    + """
local gone = tonumber(ARGV[6])
for i = 7, 6 + gone do
  redis.call('ZREM', live, ARGV[i])
  redis.call('ZREM', bulk, ARGV[i])
end
for i = 7 + gone, #ARGV, 4 do
  local score = tonumber(ARGV[i + 2])
  if score == 0 then score = now - ARGV[i + 3] end
  if not redis.call('ZSCORE', taken, ARGV[i + 1]) then stand(ARGV[i] == 'bulk' and bulk or live, score, ARGV[i + 1]) end
end
drop_silent()
local paused, code = held()
local answer = {paused > 0 and code or 0, math.ceil(paused / 1000), 0}
for i = 7 + gone, #ARGV, 4 do
  local line = ARGV[i] == 'bulk' and bulk or live
  local _, asked = due_of(ARGV[i], redis.call('ZRANK', line, ARGV[i + 1]) or 0, paused)
  answer[#answer + 1] = math.max(0, math.ceil((asked - now) / 1000))
  answer[#answer + 1] = redis.call('ZSCORE', line, ARGV[i + 1]) or '0'
end
return answer
"""
)

# A process tells the places that it took and this server does not know: class, name, age of each. Then nothing is given
# until the other processes have told theirs.
RESTORE: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
for i = 3, #ARGV, 3 do
  local at = string.format('%.0f', now - ARGV[i + 2])
  redis.call('ZADD', KEYS[1], 'NX', at, ARGV[i + 1])
  if ARGV[i] == 'bulk' then redis.call('ZADD', KEYS[8], 'NX', at, ARGV[i + 1]) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[8], ARGV[1])
redis.call('SET', KEYS[3], '1', 'NX', 'PX', ARGV[2])
return 0
"""

# Answers the ms that the pause now lasts. Several calls refused together are one refusal: they don't double
# the pause. The calls that wait go one after the other behind its end.
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
