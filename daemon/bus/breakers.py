"""A circuit breaker per provider: after failures in a row nobody calls it, but for one probe at a time.

The state machine is purgatory's; what it lets through half-open (everybody) is narrowed here to one permit.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeVar

import structlog
from purgatory.domain.model import CLOSED, Context

from daemon.bus.settle import BreakerOpen, LeaseOver
from schemas.errors import ChannelDown, FerrymanError, Transient, Uncertain

T = TypeVar("T")

FAILURES_TO_OPEN: Final = 5
PROBE_S: Final = 5.0
DOWN_PROBE_S: Final = 30.0
"""A channel whose account is at fault waits for a person: it is asked less often."""

log = structlog.get_logger(__name__)


class Breaker:
    """Guards the calls to one provider in this process."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._clock = clock
        self._context = Context(name, FAILURES_TO_OPEN, PROBE_S)
        self._probing = False
        self._next_probe = 0.0
        self._down: str | None = None
        self.answered_at = float("-inf")

    @property
    def closed(self) -> bool:
        """Whether calls go through freely."""
        return self._down is None and self._context.state == CLOSED

    @property
    def may_probe(self) -> bool:
        """Whether one call may now find out if the provider is back."""
        return not self._probing and self._clock() >= self._next_probe

    async def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """Await what *make* returns, if the provider may be called. Raises: BreakerOpen without a call, else what it
        raises."""
        probe = not self.closed
        if probe:
            if not self.may_probe:
                raise BreakerOpen(f"{self.name} is paused")
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
        self.answered_at = self._clock()
        if not self.closed:
            self._down = None
            self._context = Context(self.name, FAILURES_TO_OPEN, PROBE_S)
            log.info("provider.back", provider=self.name)
        elif self._context.failure_count:
            self._context.handle_end_request()
            self._context.messages.clear()

    def _failed(self, exc: FerrymanError) -> None:
        if isinstance(exc, ChannelDown):
            self._next_probe = self._clock() + DOWN_PROBE_S
            if self._down is None:
                self._down = str(exc)
                log.error("provider.down", provider=self.name, error=str(exc), probe_every_s=DOWN_PROBE_S)
        elif isinstance(exc, LeaseOver) or (isinstance(exc, Transient) and exc.limited):
            pass  # not asked, or it is there and asks for patience: neither a failure nor a recovery
        elif isinstance(exc, Transient | Uncertain):
            if self._context.state == CLOSED:
                self._context.handle_exception(exc)
                if self._context.state != CLOSED:
                    self._next_probe = self._clock() + PROBE_S
                    log.warning("provider.paused", provider=self.name, error=str(exc), probe_every_s=PROBE_S)
            self._context.messages.clear()
        else:
            self._answered()  # it understood and said no


class Provider:
    """The breakers of one provider: reading may work while writing does not, and then it must not hide the outage.

    *paused*: an operator has stopped it; nothing is called until he lets it go on.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self.paused = False
        self._kinds = {"read": Breaker(name, clock), "write": Breaker(name, clock)}

    @property
    def name(self) -> str:
        """The provider's name."""
        return self._name

    @property
    def closed(self) -> bool:
        """Whether calls of every kind go through freely."""
        return not self.paused and all(breaker.closed for breaker in self._kinds.values())

    @property
    def may_probe(self) -> bool:
        """Whether one waiting event may now find out if the provider is back."""
        away = [breaker for breaker in self._kinds.values() if not breaker.closed]
        return not self.paused and any(breaker.may_probe for breaker in away)

    async def call(self, kind: Literal["read", "write"], make: Callable[[], Awaitable[T]]) -> T:
        """As `Breaker.call`. What it raises tells the *kind* in `operation`."""
        try:
            if self.paused:
                raise BreakerOpen(f"{self._name} is paused by an operator")
            return await self._kinds[kind].call(make)
        except FerrymanError as exc:
            exc.operation = kind
            raise

    def answered_since(self, moment: float, error: FerrymanError) -> bool:
        """Whether calls of the kind that *error* ended have been answered after *moment* (of the clock)."""
        if error.operation is None:
            return True
        return self._kinds[error.operation].answered_at > moment
