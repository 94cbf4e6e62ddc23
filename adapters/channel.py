"""A channel: one account at an outside system, and the circuit breakers that stop calls to it while it is away."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypeVar

import structlog

from adapters.alone import Alone
from adapters.damping import Damping
from schemas.credentials import DEFAULT
from schemas.errors import (
    ChannelClosed,
    ChannelDown,
    FerrymanError,
    NotSent,
    Operation,
    Permanent,
    Transient,
    Uncertain,
)

T = TypeVar("T")

FAILURES_TO_OPEN: Final = 5
"""Failures in a row that open a breaker."""

PROBE_S: Final = 5.0
"""At most one call in this many seconds finds out whether the system is back."""

DOWN_PROBE_S: Final = 30.0
"""A channel whose account is at fault waits for a person, so it is asked less often."""

LOOKS_FIRST: Final = 12
"""Of so many probes in a row all but the last may begin with a look, in case it is the look that is not answered."""

UNPROBED_S: Final = 10.0
"""A probe that is overdue for so long is made by nobody who waits: nobody does."""

Word: TypeAlias = Literal["up", "unused", "asked", "away", "refused", "paused"]
"""Calls go through; none has been made yet; the system has asked us to wait; it does not answer as it should; the
account is at fault; an operator has stopped all calls."""

WORST: Final[tuple[Word, ...]] = ("unused", "up", "asked", "away", "refused", "paused")
"""From the state that stops nothing to the one that stops most."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How a channel is in this process, and the code of the last error that was no answer. Seconds count back from now:
    *since_s* to when the channel came to this state (None where that is not known, as of a pause), *error_s* to the
    error. *probe_s*: until it may be asked again."""

    word: Word
    since_s: float | None = None
    error: str = ""
    error_s: float | None = None
    probe_s: float | None = None


def reason(channel: str, word: str, error: str) -> str:
    """Why calls on *channel* are stopped, in a few words; "" where they are not. *error*: code of the last error."""
    match word:
        case "asked":
            return f"{channel} has asked us to wait"
        case "paused":
            return f"{channel} is paused by an operator"
        case "refused":
            return f"{channel} refuses our account or key ({error})"
        case "away":
            return f"{channel} does not answer as it should ({error})"
    return ""


def channel_of(provider: str, account: str) -> str:
    """The name of the channel of *account*: that of its provider, of the account `default`; else PROVIDER/ACCOUNT."""
    return provider if account == DEFAULT else f"{provider}/{account}"


def parted(channel: str) -> tuple[str, str]:
    """(provider, account) of the name of a channel."""
    provider, _, account = channel.partition("/")
    return provider, account or DEFAULT


def scope_of(scope: str, account: str) -> str:
    """What the rate limit of *account* counts by. *scope*: what that of the account `default` of its provider does."""
    return scope if account == DEFAULT else f"{scope}:{account}"


class Breaker:
    """Guards one kind of calls on one channel, in this process. Half-open it lets one probe through at a time."""

    def __init__(self, channel: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._channel = channel
        self._clock = clock
        self._failures = 0
        self._open = False
        self._down = False
        self._probing = False
        self._next_probe = 0.0
        self._looked = 0
        self._lines = Damping(clock)
        self.alone = Alone()
        """Whose calls have failed since the system last answered."""

        self.answered_at = float("-inf")
        """When (by *clock*) the system last answered; a refusal is an answer too."""

        self.error = ""
        self.error_at = float("-inf")
        """The code of the last error that was no answer, and when (by *clock*) it came."""

        self.changed_at: float | None = None
        """When (by *clock*) the breaker last opened or closed, or the account's fault was found."""

    @property
    def closed(self) -> bool:
        """Whether calls go through freely."""
        return not self._open

    @property
    def word(self) -> Word:
        """The breaker's part in the state of its channel."""
        if self._open:
            return "refused" if self._down else "away"
        return "unused" if self.answered_at == self.error_at == float("-inf") else "up"

    @property
    def probe_at(self) -> float | None:
        """When (by *clock*) a call may find out if the system is back; None where calls go through freely."""
        return self._next_probe if self._open else None

    @property
    def may_probe(self) -> bool:
        """Whether one call may now find out if the system is back."""
        return not self._probing and self._clock() >= self._next_probe

    @property
    def shut(self) -> bool:
        """Whether a call that could go elsewhere had better. While calls wait for the system they find out when it is
        back; where none do, nobody would, and the breaker is not shut for the call that asks."""
        return self._open and (self._probing or self._clock() < self._next_probe + UNPROBED_S)

    def probe_now(self) -> None:
        """Let the next call find out whether the system is back, without a wait."""
        self._next_probe = self._clock()

    def looks_first(self) -> bool:
        """Whether the probe that has begun is to begin with a look, as its own call might end in doubt."""
        if not self._open or self._down:
            return False
        self._looked += 1
        return self._looked % LOOKS_FIRST != 0

    def check(self) -> None:
        """Raises: ChannelClosed where a call would be stopped now."""
        if self._open and not self.may_probe:
            raise ChannelClosed(reason(self._channel, self.word, self.error), channel=self._channel)

    async def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """Await what *make* returns. Raises: ChannelClosed without a call, else what *make* raises."""
        if untold := self._lines.late():
            log.warning("provider.changed", provider=self._channel, open=self._open, changes=untold)
        self.check()
        probe = self._open
        if probe:
            self._probing = True
            self._next_probe = self._clock() + PROBE_S
        try:
            result = await make()
        except FerrymanError as exc:
            self._failed(exc)
            raise
        else:
            self._answered()
            return result
        finally:
            if probe:
                self._probing = False

    def _answered(self) -> None:
        self.alone.answered()
        self._serves()

    def _serves(self) -> None:
        self.answered_at = self._clock()
        self._failures = self._looked = 0
        if self._open:
            self._open = self._down = False
            self.changed_at = self._clock()
            if self._lines.may_tell():
                log.info("provider.back", provider=self._channel)

    def _failed(self, exc: FerrymanError) -> None:
        if isinstance(exc, ChannelDown):
            self._note(exc)
            self._next_probe = self._clock() + DOWN_PROBE_S
            self._open = True
            if not self._down:
                self._down = True
                self.changed_at = self._clock()
                if self._lines.may_tell():
                    log.error("provider.down", probe_every_s=DOWN_PROBE_S, **self._told(exc))
        elif isinstance(exc, NotSent) or (isinstance(exc, Transient) and exc.limited):
            pass  # the system was not asked, or asked us to slow down: neither a failure nor a sign that it works
        elif exc.answered and not isinstance(exc, Permanent):
            self._note(exc)
            self._serves()
        elif isinstance(exc, Transient | Uncertain):
            self._note(exc)
            self._failures += 1
            if not self._open and self._failures >= FAILURES_TO_OPEN:
                self._open = True
                self.changed_at = self._clock()
                self._next_probe = self._clock() + PROBE_S
                if self._lines.may_tell():
                    log.warning("provider.paused", probe_every_s=PROBE_S, **self._told(exc))
        else:
            self._answered()  # the system understood and said no

    def _note(self, exc: FerrymanError) -> None:
        self.error, self.error_at = exc.code, self._clock()

    def _told(self, exc: FerrymanError) -> dict[str, str]:
        return {"provider": self._channel, "error": str(exc), "code": exc.code}


class Channel:
    """One account at an outside system. Its reads and its writes have a breaker each: reads that work must not hide an
    outage of the writes.

    *paused*: an operator has stopped the channel; nothing is called until the operator resumes it. *lacks*: the names
    of what we would write and the account has no place for, when it was last asked.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self.paused = False
        self.lacks: tuple[str, ...] = ()
        self._asked_until = float("-inf")
        self._breakers: dict[Operation, Breaker] = {"read": Breaker(name, clock), "write": Breaker(name, clock)}

    @property
    def name(self) -> str:
        """The channel's name."""
        return self._name

    @property
    def closed(self) -> bool:
        """Whether calls of every kind go through freely."""
        return not self.paused and all(breaker.closed for breaker in self._breakers.values())

    @property
    def state(self) -> ChannelState:
        """How the channel is now, in this process. Of its breakers the one counts that stops more."""
        now = self._clock()
        worst = max(self._breakers.values(), key=lambda b: (WORST.index(b.word), b.error_at))
        last = worst if worst.probe_at is not None else max(self._breakers.values(), key=lambda b: b.error_at)
        word: Word = "paused" if self.paused else worst.word
        if self.asked_s > 0 and WORST.index(word) < WORST.index("asked"):
            word = "asked"
        return ChannelState(
            word,
            None if worst.changed_at is None or word != worst.word else now - worst.changed_at,
            last.error,
            now - last.error_at if last.error else None,
            None if worst.probe_at is None else max(0.0, worst.probe_at - now),
        )

    @property
    def asked_s(self) -> float:
        """For how many seconds more the system has asked us to wait, as far as `heard` told."""
        return max(0.0, self._asked_until - self._clock())

    def heard(self, asked_s: float) -> None:
        """The shared pause of the rate limit lasts for *asked_s* seconds more, 0 where there is none."""
        self._asked_until = self._clock() + asked_s

    @property
    def why_closed(self) -> str:
        """Why calls are stopped, in a few words; "" where they are not."""
        state = self.state
        return reason(self.name, state.word, state.error)

    @property
    def shut(self) -> bool:
        """Whether what may go by another channel as well had better: an operator has paused this one, or it is down as
        far as is known."""
        return self.paused or any(breaker.shut for breaker in self._breakers.values())

    @property
    def may_probe(self) -> bool:
        """Whether one waiting event may now find out if the system is back."""
        return not self.paused and any(b.may_probe for b in self._breakers.values() if not b.closed)

    def probe_now(self) -> None:
        """As `Breaker.probe_now`, for calls of every kind: something has changed that may bring the account back."""
        for breaker in self._breakers.values():
            breaker.probe_now()

    def check(self, operation: Operation) -> None:
        """Raises: ChannelClosed where a call would be stopped now."""
        if self.paused:
            raise ChannelClosed(reason(self.name, "paused", ""), channel=self.name)
        self._breakers[operation].check()

    async def call(self, operation: Operation, make: Callable[[], Awaitable[T]]) -> T:
        """As `Breaker.call`. Every FerrymanError that it raises carries the channel and the operation."""
        try:
            self.check(operation)
            return await self._breakers[operation].call(make)
        except FerrymanError as exc:
            exc.channel, exc.operation = self.name, operation
            raise

    def looks_first(self, operation: Operation) -> bool:
        """As `Breaker.looks_first`, of the calls of that kind."""
        return self._breakers[operation].looks_first()

    def alone(self, operation: Operation) -> Alone:
        """Whose calls of that kind have failed since the system last answered one."""
        return self._breakers[operation].alone

    def answered_since(self, moment: float, error: FerrymanError) -> bool:
        """Whether calls of the kind that *error* ended have been answered after *moment* (of the clock)."""
        return error.operation is None or self._breakers[error.operation].answered_at > moment


class Channels:
    """The channels of this process by name: those that are *known*, and any other when it is first asked for."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._channels = {name: Channel(name) for name in known}

    def __getitem__(self, name: str) -> Channel:
        if name not in self._channels:
            self._channels[name] = Channel(name)
        return self._channels[name]

    def get(self, name: str | None) -> Channel | None:
        """The channel of that name, if there is one."""
        return None if name is None else self._channels.get(name)

    @property
    def names(self) -> list[str]:
        """The names of all so far."""
        return list(self._channels)

    def all(self) -> list[Channel]:
        """Every channel so far."""
        return list(self._channels.values())
