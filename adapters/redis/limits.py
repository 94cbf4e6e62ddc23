"""A rate limit and a pause that all processes share through Redis.

Why not the `limits` package: its moving window runs on each client's own clock, and the pause would be a second round
trip. Here one script answers both questions on the server's clock, and tells how long to wait.

A call that gets no place is written down in Redis, in the order of arrival over all processes, and told when its place
comes. So all are served in that order, each asks again when its place is there, and no other call takes it meanwhile. A
process that has calls waiting tells Redis so every LOOK_S; the calls of one that is silent for SILENT_S are forgotten,
and those behind them move up. Where processes count as dead sooner (*silent_s*), both times are shorter.

There are two ways to wait. `acquire` sleeps, and goes ahead of what waits, as its caller is under way already. `take`
never sleeps: it hands out a ticket, and calls it when its place is there.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import chain
from typing import Any, Final

import structlog
from redis.asyncio import Redis

from adapters.redis.limit_line import FIRST_PAUSE_S, FORGET_S, LONGEST_PAUSE_S, Priority, Scope, Ticket, ticket
from adapters.redis.limit_scripts import KINDS, LOOK, PAUSE, REGAINED_S, RESTORE, TAKE, key
from adapters.redis.limit_server import LimitServer
from schemas.errors import Transient

__all__ = ["LONGEST_WAIT_S", "Priority", "RateLimiter", "Ticket"]

LONGEST_ASKED_S: Final = 300.0
"""The longest pause that a refusal may name: one more refusal after it costs less than a wrong header would."""

LOOK_S: Final = 5.0
"""How often a process whose calls wait asks Redis: an operator may have lifted a pause, a call before them may have
left. A call that was told that its place is there and does not come for so long loses it."""

SILENT_S: Final = 12.0
"""A process that is silent for so long has died: its waiting calls hold up no other process any longer."""

LONGEST_WAIT_S: Final = 30.0
"""How long a call waits for its place before its lane is given back."""

_LOOKS: Final = LOOK_S / SILENT_S
_SHORTEST_SLEEP_S: Final = 0.005
_LONGEST_LEFT_S: Final = 86_400.0
_BEFORE_ALL_US: Final = 4 * 10**15
_MOST_SCOPES: Final = 4096

_TAKEN: Final = 0
_PAUSED: Final = 2
_LOST: Final = 3


class RateLimiter:
    """Places for requests: at most *per_minute* in any *window_s* seconds, per scope, over all processes.

    The promise holds while Redis is up, on Redis's clock: never more than *per_minute* places are given
    within any rolling window. While Redis is away each process keeps the promise for itself (so N processes
    may together reach N times the amount), and no call fails for that. When Redis has lost what it knew, each process
    that took more than a tenth of the places tells it within LOOK_S, and any other at its next call; meanwhile places
    are given at most at the pace of the limit, one in a window divided by the amount. None or 0 for *per_minute*: no
    limit and no round trip; then a pause is kept in the process that met it only. *redis* None: always in-process.
    *silent_s*: at most SILENT_S. *clock* is monotonic seconds.

    *priority* of a call: live, or bulk, which is served only where live calls leave room. It never makes a live call
    wait for longer than one spacing (a window divided by the amount) unless more live calls come than came in the last
    window.
    """

    def __init__(
        self,
        redis: Redis | None,
        *,
        per_minute: int | None,
        window_s: float = 60.0,
        max_wait_s: float = LONGEST_WAIT_S,
        silent_s: float = SILENT_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._redis = redis
        self._amount = per_minute or 0
        self._window_s = window_s
        self._max_wait_s = max_wait_s
        self._silent_s = min(silent_s, SILENT_S)
        self._look_s = min(LOOK_S, self._silent_s * _LOOKS)
        self._clock = clock
        self._sleep = sleep
        self._process = secrets.token_hex(6)
        self._server = LimitServer(redis, clock)
        self._scopes: dict[str, Scope] = {}
        self._closed = False

    def close(self) -> None:
        """Look no more, and call nobody: the client of Redis and the loop may end after it. Calls that wait are not
        ended by it."""
        self._closed = True
        for here in self._scopes.values():
            here.close()

    async def acquire(self, scope: str, priority: Priority = "live") -> None:
        """Return when a request of *scope* may go out; ahead of the tickets, and in the order of these calls.

        Raises: Transient (limited, retry_after_s) when that would take longer than max_wait_s: nothing was
        sent.
        """
        here = self._here(scope)
        if not self._amount and here.paused_until <= self._clock():
            return
        mine = ticket(scope, priority, self._clock(), ahead=True)
        deadline = self._clock() + self._max_wait_s
        try:
            while (wait_s := await self._place(here, mine, deadline - self._clock())) > 0:
                if self._clock() + wait_s > deadline:
                    raise _too_long(wait_s)
                self._stand(here, mine, wait_s)
                await self._sleep(self._until_the_next_look(wait_s))
        except BaseException:
            here.leave(mine)
            raise

    async def take(self, scope: str, mine: Ticket | None = None, priority: Priority = "live") -> Ticket | None:
        """Take a place at once (then None), or get in line (then the ticket). Never sleeps.

        *mine*: the caller's own ticket of before, once it was called: it stands where it stood.
        """
        here = self._here(scope)
        if mine is None and not self._amount and here.paused_until <= self._clock():
            return None
        if mine is None or mine.scope != scope:
            mine = ticket(scope, priority, self._clock())
        wait_s = await self._place(here, mine, _LONGEST_LEFT_S)
        if wait_s > 0:
            mine = mine.again() if mine.called.done() else mine
            self._stand(here, mine, wait_s)
            return mine
        return None

    async def pause(self, scope: str, seconds: float | None) -> None:
        """Hold every process's requests of *scope* for *seconds*: the other side said that we ask too often.

        None or 0: it named no time; the pause starts at FIRST_PAUSE_S and doubles while refusals repeat.
        At most LONGEST_ASKED_S. Never shortens a pause. Behind it half of the limit is in force, and grows back slowly
        (`adapters.redis.eased`). `lift` in `adapters.redis.pauses` ends both in every process.
        """
        here = self._here(scope)
        asked_ms = max(1, round(min(seconds, LONGEST_ASKED_S) * 1000)) if seconds and seconds > 0 else 0
        pause_s: float | None = None
        if self._amount:
            times = (round(s * 1000) for s in (FIRST_PAUSE_S, LONGEST_PAUSE_S, FORGET_S))
            limit = self._amount, round(self._window_s * 1000), round(REGAINED_S * 1000)
            keys = tuple(key(kind, scope) for kind in ("pause", "refusals", "pace", "eased"))
            answer = await self._server.run(PAUSE, keys, (asked_ms, *times, *limit))
            pause_s = None if answer is None else int(answer) / 1000
        here.pause(self._clock(), asked_ms / 1000 if pause_s is None else pause_s)
        here.pause_look_at = math.inf if pause_s is None else self._clock() + self._look_s
        structlog.get_logger().warning("limits.paused", scope=scope, seconds=here.paused_until - self._clock())

    async def _place(self, here: Scope, mine: Ticket, longest_s: float) -> float:
        """0 when a place was taken, else the seconds until it is worth asking again. Redis does not let *mine* into
        the line where these are more than *longest_s*."""
        now = self._clock()
        paused_s = 0.0 if now >= here.pause_look_at else here.paused_until - now
        mine.paused = paused_s > 0
        if paused_s > 0:
            return paused_s
        if self._amount and (wait_s := await self._place_of(here, mine, now, longest_s)) > 0:
            return wait_s
        here.remove(mine)
        return 0.0

    async def _place_of(self, here: Scope, mine: Ticket, now: float, longest_s: float) -> float:
        longest_ms = round(1000 * max(0.0, longest_s))
        rest = (mine.priority, self._name(mine.number), mine.score, _age_us(mine, now), longest_ms)
        try:
            answer = await self._ask(mine.scope, here, TAKE, rest)
        except BaseException:
            here.gone.add(mine.number)  # whether it stands in Redis's line is not known
            self._arm(mine.scope, here)
            raise
        if answer is None:
            if (wait_s := here.free_in(mine, now, self._amount, self._window_s)) > 0:
                return wait_s
        elif answer[0] != _TAKEN:
            mine.score = int(answer[2]) if int(answer[1]) <= longest_ms else 0
            self._note_pause(here, int(answer[0]), int(answer[1]) / 1000)
            mine.paused = answer[0] == _PAUSED
            return max(int(answer[1]) / 1000, _SHORTEST_SLEEP_S)
        here.remove(mine)
        here.took(mine, now, self._clock(), self._amount, self._window_s)
        if not here.gone and not any(here.waiting()):
            here.look_at = math.inf  # nothing is left to tell, and this was a look as well
        self._arm(mine.scope, here)
        return 0.0

    def _note_pause(self, here: Scope, code: int, seconds: float) -> None:
        now = self._clock()
        here.pause_look_at = now + self._look_s if code == _PAUSED else math.inf
        here.paused_until = now + seconds if code == _PAUSED else 0.0

    async def _ask(self, scope: str, here: Scope, script: str, rest: tuple[str | int, ...]) -> Any:
        """The script's answer, after Redis was told what it has lost; None while it is away."""
        for _ in range(2):
            answer = await self._run(scope, here, script, rest)
            if answer is None or answer[0] != _LOST:
                return answer
            await self._run(scope, here, RESTORE, self._lost(here))
        return None

    def _lost(self, here: Scope) -> tuple[str | int, ...]:
        """What this process knows of a scope that Redis has lost."""
        now = self._clock()
        hold_ms = round(1000 * min(self._window_s, self._look_s + 0.5))
        pause_ms = max(0, round(1000 * (here.paused_until - now)))
        places = [place for place in here.places if place.noted > now - self._window_s]
        told: list[str | int] = []
        for place in places:
            told += (place.priority, self._name(place.number), _us(now - place.noted))
        return (hold_ms, pause_ms, len(places), *told, *self._line(here.uncalled(), now))

    async def _run(self, scope: str, here: Scope, script: str, rest: tuple[str | int, ...]) -> Any:
        last = here.last(self._clock(), self._window_s)
        told = self._name(last.number) if last else ""
        head = (self._amount, round(self._window_s * 1000), round(self._silent_s * 1000), self._process, told)
        return await self._server.run(script, tuple(key(kind, scope) for kind in KINDS), (*head, *rest))

    def _line(self, waiting: list[Ticket], now: float) -> Iterable[str | int]:
        """These calls as the scripts read them."""
        return chain.from_iterable((m.priority, self._name(m.number), m.score, _age_us(m, now)) for m in waiting)

    def _name(self, number: int) -> str:
        return f"{self._process}:{number:+014d}"

    def _stand(self, here: Scope, mine: Ticket, wait_s: float) -> None:
        mine.due = self._clock() + wait_s
        here.stand(mine)
        self._arm(mine.scope, here)

    def _arm(self, scope: str, here: Scope) -> None:
        """Let `_act` run when the next place comes, or the next look is due."""
        if self._closed:
            return
        now = self._clock()
        if here.look_at == math.inf and here.has_news(now, self._amount, self._window_s):
            here.look_at = now + self._look_s
        here.arm(now, lambda: self._act(scope, here))

    def _act(self, scope: str, here: Scope) -> None:
        """Call those whose place is there; look where it is time."""
        now = self._clock()
        here.call(now)
        if now >= here.look_at:
            here.drop_absent(now - self._look_s)
            here.look_at = math.inf
            if self._amount and self._redis is not None and here.looking is None:
                here.looking = asyncio.get_running_loop().create_task(self._look(scope, here))
        self._arm(scope, here)

    async def _look(self, scope: str, here: Scope) -> None:
        """Tell Redis which calls of this process wait and which have left, and hear when the places come."""
        try:
            gone, here.gone = here.gone, set()
            waiting = here.uncalled()
            names = [self._name(number) for number in gone]
            rest = (len(names), *names, *self._line(waiting, self._clock()))
            answer = await self._ask(scope, here, LOOK, rest)
            if answer is None:
                here.gone |= gone
            else:
                self._tell(here, waiting, answer)
        finally:
            here.looking = None
            self._arm(scope, here)

    def _tell(self, here: Scope, waiting: list[Ticket], answer: list[Any]) -> None:
        now = self._clock()
        self._note_pause(here, int(answer[0]), int(answer[1]) / 1000)
        for mine, wait_ms, score in zip(waiting, answer[3::2], answer[4::2], strict=True):
            mine.due, mine.score = now + int(wait_ms) / 1000, int(float(score))
            mine.paused = answer[0] == _PAUSED

    def _until_the_next_look(self, wait_s: float) -> float:
        """How long to wait before asking again, for what is free or lifted in *wait_s* at the latest."""
        longest = math.inf if self._redis is None or not self._amount else self._look_s
        return max(min(wait_s, longest), _SHORTEST_SLEEP_S)

    def _here(self, scope: str) -> Scope:
        if (here := self._scopes.get(scope)) is not None:
            return here
        if len(self._scopes) >= _MOST_SCOPES:
            # A scope may be a recipient: forget those that nothing is known of any more.
            now = self._clock()
            self._scopes = {k: s for k, s in self._scopes.items() if not s.idle(now, self._window_s)}
        here = self._scopes[scope] = Scope()
        return here


def _age_us(mine: Ticket, now: float) -> int:
    """What to take off Redis's clock for its arrival, where Redis has not heard of it."""
    return (_BEFORE_ALL_US if mine.number < 0 else 0) + _us(now - mine.came)


def _us(seconds: float) -> int:
    return max(0, round(seconds * 1_000_000))


def _too_long(wait_s: float) -> Transient:
    return Transient("our own rate limit is used up for now", retry_after_s=wait_s, limited=True)
