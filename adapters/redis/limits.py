"""A rate limit and a pause that all processes share through Redis.

Why not the `limits` package: its moving window runs on each client's own clock, and the pause would be a second round
trip. Here one script answers both questions on the server's clock, and tells how long to wait.

There are two ways to wait for a place. `acquire` sleeps. `take` never does: it hands out a ticket, and calls the
tickets of one scope one after the other, in the order in which they were handed out.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final, Literal

import structlog
from redis import exceptions as redis_errors
from redis.asyncio import Redis

from adapters.redis.limit_scripts import PAUSE, TAKE
from schemas.errors import Transient

FIRST_PAUSE_S: Final = 4.0
LONGEST_PAUSE_S: Final = 60.0
"""A refusal that names no time pauses for 4, 8, 16, 32, 60 … seconds, until two minutes were quiet."""

LONGEST_ASKED_S: Final = 300.0
"""The longest pause that a refusal may name: one more refusal after it costs less than a wrong header would."""

LOOK_S: Final = 5.0
"""How often a process asks Redis whether a pause still holds: an operator may have lifted it."""

LONGEST_WAIT_S: Final = 30.0
"""How long a call waits for its place before its lane is given back."""

NEXT_S: Final = 0.1
"""How long a ticket that was called and takes no place holds up the next one: its event may wait for a slot."""

_FORGET_S: Final = 120.0
_REDIS_REST_S: Final = 2.0
"""How long Redis is left alone after it failed, so that calls do not each wait for its timeout."""

_SHORTEST_SLEEP_S: Final = 0.005
_MOST_SCOPES: Final = 4096
_RedisAway: Final = (redis_errors.RedisError, OSError, TimeoutError)

_TAKEN: Final = 0
_PAUSED: Final = 2


@dataclass(slots=True, order=True)
class Ticket:
    """A place in the line of a scope. *called* is done when it is worth asking again. Cancel it to leave the line.
    *paused*: the other side has asked us to wait; else the rate limit has no place."""

    number: int
    called: asyncio.Future[None] = field(compare=False)
    paused: bool = field(default=False, compare=False)


class RateLimiter:
    """Places for requests: at most *per_minute* in any *window_s* seconds, per scope, over all processes.

    The promise holds while Redis is up, on Redis's clock: never more than *per_minute* places are given
    within any rolling window. While Redis is away each process keeps the promise for itself (so N processes
    may together reach N times the amount), and no call fails for that. None or 0 for *per_minute*: no limit
    and no round trip; then a pause is kept in the process that met it only. *redis* None: always in-process.
    *clock* is monotonic seconds.
    """

    def __init__(
        self,
        redis: Redis | None,
        *,
        per_minute: int | None,
        window_s: float = 60.0,
        max_wait_s: float = LONGEST_WAIT_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._redis = redis
        self._amount = per_minute or 0
        self._window_s = window_s
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._sleep = sleep
        self._redis_back_at = 0.0
        self._in_process = False
        self._scopes: dict[str, _Scope] = {}

    async def acquire(self, scope: str) -> None:
        """Return when a request of *scope* may go out; callers of one process are served in their order.

        Raises: Transient (limited, retry_after_s) when that would take longer than max_wait_s: nothing was
        sent.
        """
        here = self._here(scope)
        if not self._amount and here.paused_until <= self._clock():
            return
        deadline = self._clock() + self._max_wait_s
        try:
            async with asyncio.timeout(self._max_wait_s):
                await here.turn.acquire()
        except TimeoutError:
            raise _too_long(self._window_s / (self._amount or 1)) from None
        try:
            while (wait_s := await self._place(scope, here)) > 0:
                if self._clock() + wait_s > deadline:
                    raise _too_long(wait_s)
                await self._sleep(self._until_the_next_look(wait_s))
        finally:
            here.turn.release()

    async def take(self, scope: str, ticket: Ticket | None = None) -> Ticket | None:
        """Take a place at once (then None), or get in line (then the ticket). Never sleeps.

        *ticket*: the caller's own, once it was called. A caller without one that finds others in line goes behind them.
        """
        here = self._here(scope)
        its_turn = ticket is not None and ticket.called.done()
        if not its_turn and here.in_line():
            return here.join(None, self._clock())
        wait_s = await self._place(scope, here)
        if wait_s <= 0:
            here.call_next_in(0.0)
            return None
        ticket = here.join(ticket if its_turn else None, self._clock())
        here.call_next_in(self._until_the_next_look(wait_s))
        return ticket

    async def pause(self, scope: str, seconds: float | None) -> None:
        """Hold every process's requests of *scope* for *seconds*: the other side said that we ask too often.

        None or 0: it named no time; the pause starts at FIRST_PAUSE_S and doubles while refusals repeat.
        At most LONGEST_ASKED_S. Never shortens a pause. `lift` in `adapters.redis.pauses` ends it in every process.
        """
        here = self._here(scope)
        asked_ms = max(1, round(min(seconds, LONGEST_ASKED_S) * 1000)) if seconds and seconds > 0 else 0
        pause_s: float | None = None
        if self._amount:
            args = (
                asked_ms,
                round(FIRST_PAUSE_S * 1000),
                round(LONGEST_PAUSE_S * 1000),
                round(_FORGET_S * 1000),
            )
            answer = await self._script(PAUSE, (key("pause", scope), key("refusals", scope)), args)
            pause_s = None if answer is None else int(answer) / 1000
        here.pause(self._clock(), asked_ms / 1000 if pause_s is None else pause_s)
        here.look_at = math.inf if pause_s is None else self._clock() + LOOK_S
        structlog.get_logger().warning("limits.paused", scope=scope, seconds=here.paused_until - self._clock())

    async def _place(self, scope: str, here: _Scope) -> float:
        """0 when a place was taken, else the seconds until it is worth asking again."""
        now = self._clock()
        paused_s = 0.0 if now >= here.look_at else here.paused_until - now
        wait_s = max(paused_s, here.full_for(now, self._amount, self._window_s))
        if wait_s > 0 or not self._amount:
            return max(wait_s, 0.0)
        keys = (key("places", scope), key("pause", scope))
        answer = await self._script(TAKE, keys, (self._amount, round(self._window_s * 1000)))
        if answer is not None and answer[0] != _TAKEN:
            wait_s = int(answer[1]) / 1000
            if answer[0] == _PAUSED:
                here.paused_until = self._clock() + wait_s
                here.look_at = self._clock() + LOOK_S
            return wait_s
        here.take(self._clock(), self._amount)
        return 0.0

    def _until_the_next_look(self, wait_s: float) -> float:
        """How long to wait before asking again, for what is free or lifted in *wait_s* at the latest."""
        longest = math.inf if self._redis is None or not self._amount else LOOK_S
        return max(min(wait_s, longest), _SHORTEST_SLEEP_S)

    async def _script(self, script: str, keys: tuple[str, ...], args: tuple[int, ...]) -> Any:
        """The script's answer; None while Redis is away."""
        if self._redis is None or self._clock() < self._redis_back_at:
            return None
        try:
            run: Any = self._redis.eval
            answer = await run(script, len(keys), *keys, *args)
        except _RedisAway as error:
            self._redis_back_at = self._clock() + _REDIS_REST_S
            if not self._in_process:  # many requests meet the same outage
                self._in_process = True
                structlog.get_logger().warning("limits.in_process", error=type(error).__name__)
            return None
        self._in_process = False
        return answer

    def _here(self, scope: str) -> _Scope:
        if (here := self._scopes.get(scope)) is not None:
            return here
        if len(self._scopes) >= _MOST_SCOPES:
            # A scope may be a recipient: forget those that nothing is known of any more.
            now = self._clock()
            self._scopes = {k: s for k, s in self._scopes.items() if not s.idle(now, self._window_s)}
        here = self._scopes[scope] = _Scope()
        return here


class _Scope:
    """What this process knows of a scope: its own places, the pause, the sleepers' turn and the line of tickets."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.paused_until = 0.0
        self.look_at = math.inf  # when to ask Redis about the pause
        self._line: list[Ticket] = []
        self._issued = 0
        self._timer: asyncio.TimerHandle | None = None
        self._taken: deque[float] = deque()
        self._refusals = 0
        self._refused_at = -_FORGET_S

    def in_line(self) -> bool:
        """Whether a ticket waits to be called."""
        while self._line and self._line[0].called.done():  # its holder has left
            heappop(self._line)
        return bool(self._line)

    def join(self, ticket: Ticket | None, now: float) -> Ticket:
        """A ticket in the line: behind all others, or where *ticket*, which was called in vain, was before."""
        if ticket is None:
            self._issued += 1
        number = self._issued if ticket is None else ticket.number
        made = Ticket(number, asyncio.get_running_loop().create_future(), self.paused_until > now)
        heappush(self._line, made)
        return made

    def call_next_in(self, delay_s: float) -> None:
        """Call the first ticket of the line after *delay_s*, and the others one by one behind it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.in_line():
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._call_next)

    def _call_next(self) -> None:
        self._timer = None
        if self.in_line():
            heappop(self._line).called.set_result(None)
            self.call_next_in(NEXT_S)

    def take(self, now: float, amount: int) -> None:
        self._taken.append(now)
        while len(self._taken) > amount:
            self._taken.popleft()

    def idle(self, now: float, window_s: float) -> bool:
        """Whether forgetting it changes nothing."""
        latest = self._taken[-1] + window_s if self._taken else 0.0
        return (
            not self.turn.locked()
            and not self.in_line()
            and max(latest, self.paused_until, self._refused_at + _FORGET_S) < now
        )

    def full_for(self, now: float, amount: int, window_s: float) -> float:
        """Seconds until this process has a place by its own count, which holds when Redis fails or returns."""
        if not amount or len(self._taken) < amount:
            return 0.0
        return max(self._taken[0] + window_s - now, 0.0)

    def pause(self, now: float, seconds: float) -> None:
        """Pause for *seconds*, or where it is 0 by the rule of doubling."""
        if seconds <= 0:
            if self.paused_until > now:
                return
            self._refusals = self._refusals + 1 if now - self._refused_at < _FORGET_S else 1
            self._refused_at = now
            seconds = min(FIRST_PAUSE_S * 2.0 ** min(self._refusals - 1, 16), LONGEST_PAUSE_S)
        self.paused_until = max(self.paused_until, now + seconds)


def key(kind: Literal["places", "pause", "refusals"], scope: str) -> str:
    """The key of Redis that holds this of *scope*."""
    # The braces are a cluster hash tag: one script touches two keys of a scope.
    return f"ferryman:{kind}:{{{scope}}}"


def _too_long(wait_s: float) -> Transient:
    return Transient("our own rate limit is used up for now", retry_after_s=wait_s, limited=True)
