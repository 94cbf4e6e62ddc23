"""The calls of one process that wait for a place of one scope, and what the process knows of the scope by itself."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Literal, NamedTuple, TypeAlias

Priority: TypeAlias = Literal["live", "bulk"]
"""Bulk is what a replay delivers. It takes only the places that live calls leave."""

FIRST_PAUSE_S: Final = 4.0
LONGEST_PAUSE_S: Final = 60.0
"""A refusal that names no time pauses for 4, 8, 16, 32, 60 … seconds, until two minutes were quiet."""

FORGET_S: Final = 120.0

_AHEAD: Final = 10**12
_numbers: Final = count(1)


@dataclass(slots=True, order=True)
class Ticket:
    """Where a call stands in the line of a scope. *called* is done when its place is there. Cancel it to leave.

    *paused*: the other side has asked us to wait; else the rate limit has no place. *came*, *due*: when it came, and
    when its place is expected, on the limiter's clock. *score*: its arrival on Redis's clock, 0 as long as Redis has
    not heard of it.
    """

    number: int
    called: asyncio.Future[None] = field(compare=False)
    paused: bool = field(default=False, compare=False)
    scope: str = field(default="", compare=False)
    priority: Priority = field(default="live", compare=False)
    came: float = field(default=0.0, compare=False)
    due: float = field(default=0.0, compare=False)
    score: int = field(default=0, compare=False)
    called_at: float = field(default=math.inf, compare=False)

    def again(self) -> Ticket:
        """The same place in the line, for a call that came and got nothing."""
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return Ticket(self.number, called, False, self.scope, self.priority, self.came, self.due, self.score)


def ticket(scope: str, priority: Priority, now: float, *, ahead: bool = False) -> Ticket:
    """A ticket for a call that comes now. *ahead*: of all that wait, for a call that is under way already."""
    number = next(_numbers) - (_AHEAD if ahead else 0)
    return Ticket(number, asyncio.get_running_loop().create_future(), False, scope, priority, now)


class Place(NamedTuple):
    """A place that this process took. It asked for it *at*, and had *noted* it then: the server gave it in between."""

    at: float
    noted: float
    number: int
    priority: Priority


def room_of_bulk(amount: int) -> int:
    """How many places of a window bulk takes at most: the rest is kept for live calls."""
    return max(1, amount - max(1, amount // 40))


class Scope:
    """The places that this process took, the pause as it knows it, and the line of its own waiting calls."""

    def __init__(self) -> None:
        self.paused_until = 0.0
        self.pause_look_at = math.inf  # when to ask Redis about the pause
        self.look_at = math.inf  # when to tell Redis who waits, and to hear when the places come
        self.looking: asyncio.Task[None] | None = None
        self.gone: set[int] = set()
        self.places: deque[Place] = deque()
        self._lines: dict[Priority, list[Ticket]] = {"live": [], "bulk": []}
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = math.inf
        self._bulk_next = 0.0
        self._refusals = 0
        self._refused_at = -FORGET_S

    def waiting(self) -> Iterator[Ticket]:
        """Those in line, in the order of their class."""
        for line in self._lines.values():
            yield from line

    def uncalled(self) -> list[Ticket]:
        """Those in line that were not called yet."""
        return [mine for mine in self.waiting() if not mine.called.done()]

    def has_news(self, now: float, amount: int, window_s: float) -> bool:
        """Whether to look: for calls that wait or have left, and as long as this process has more than a tenth of the
        places, which Redis may have lost."""
        much = amount // 10
        takes = len(self.places) > much and self.places[-1 - much].at > now - window_s
        return takes or bool(self.gone) or any(self._lines.values())

    def stand(self, mine: Ticket) -> None:
        """Put *mine* into the line, at its number."""
        self.remove(mine)
        self.gone.discard(mine.number)
        mine.called_at = math.inf
        insort(self._lines[mine.priority], mine)
        mine.called.add_done_callback(lambda called: self.leave(mine) if called.cancelled() else None)

    def leave(self, mine: Ticket) -> None:
        """Its call has given up."""
        if self.remove(mine) and (mine.score or self.looking is not None):
            self.gone.add(mine.number)

    def remove(self, mine: Ticket) -> bool:
        """Take *mine* out of the line; whether it was there."""
        line = self._lines[mine.priority]
        at = bisect_left(line, mine)
        there = at < len(line) and line[at].number == mine.number
        if there:
            del line[at]
        return there

    def drop_absent(self, before: float) -> None:
        """The calls that were told *before* that their place is there, and did not take it, lose it. One that comes yet
        stands where it stood."""
        for mine in [mine for mine in self.waiting() if mine.called_at < before]:
            self.leave(mine)

    def call(self, now: float) -> None:
        """Call those whose place is there."""
        for mine in self.waiting():
            if mine.due <= now and not mine.called.done():
                mine.called_at = now
                mine.called.set_result(None)

    def arm(self, now: float, act: Callable[[], None]) -> None:
        """Let *act* run when the next place comes or the next look is due, or earlier; not at all where neither is."""
        firsts = [
            next((mine.due for mine in line if not mine.called.done()), math.inf) for line in self._lines.values()
        ]
        in_s = max(min(*firsts, self.look_at) - now, 0.0)
        if in_s == math.inf:
            return
        loop = asyncio.get_running_loop()
        at = loop.time() + in_s
        if self._timer is not None:
            if self._fires_at <= at:  # not `when` of the timer: uvloop's for a call that is due at once has none
                return
            self._timer.cancel()
        self._timer, self._fires_at = loop.call_later(in_s, self._fire, act), at

    def close(self) -> None:
        """Let nothing run any more, neither what `arm` has promised nor a look that is under way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.looking is not None:
            self.looking.cancel()

    def _fire(self, act: Callable[[], None]) -> None:
        self._timer = None
        act()

    def took(self, mine: Ticket, asked: float, now: float, amount: int, window_s: float) -> None:
        """A place was taken for *mine*, which *asked* for it then."""
        self.places.append(Place(asked, now, mine.number, mine.priority))
        while len(self.places) > amount or self.places[0].noted < now - 2 * window_s:
            self.places.popleft()

    def last(self, now: float, window_s: float) -> Place | None:
        """The newest place that this process has taken in the window."""
        return self.places[-1] if self.places and self.places[-1].at > now - window_s else None

    def free_in(self, mine: Ticket, now: float, amount: int, window_s: float) -> float:
        """Seconds until *mine* has its place by this process's own count, for what only this process knows of."""
        rank = bisect_left(self._lines[mine.priority], mine)
        room, at = amount, now
        if mine.priority == "bulk":
            rank += len(self._lines["live"])
            room = room_of_bulk(amount)
            at = self._bulk_next + rank * window_s / room
        taken = len(self.places)
        for place in range(max(0, room - taken), min(rank, room - 1) + 1):
            left = self.places[taken + place - room].noted + window_s
            at = max(at, left + (rank - place) * window_s / amount)
        if at <= now and mine.priority == "bulk":
            self._bulk_next = max(at, now - window_s / room) + window_s / room
        return max(at - now, 0.0)

    def idle(self, now: float, window_s: float) -> bool:
        """Whether forgetting it changes nothing."""
        latest = self.places[-1].at + window_s if self.places else 0.0
        busy = self.looking is not None or self.gone or any(self._lines.values())
        return not busy and max(latest, self.paused_until, self._refused_at + FORGET_S) < now

    def pause(self, now: float, seconds: float) -> None:
        """Pause for *seconds*, or where it is 0 by the rule of doubling."""
        if seconds <= 0:
            if self.paused_until > now:
                return
            self._refusals = self._refusals + 1 if now - self._refused_at < FORGET_S else 1
            self._refused_at = now
            seconds = min(FIRST_PAUSE_S * 2.0 ** min(self._refusals - 1, 16), LONGEST_PAUSE_S)
        self.paused_until = max(self.paused_until, now + seconds)
