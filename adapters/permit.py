"""The permit of the handler under way: whether it may still send, and where it stands at a rate limit.

A process may be stopped, or wait for a store or a connection, for longer than its lease. When it goes on, another
process has taken the event over. So every request asks the permit at the last moment before its first byte.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from adapters.redis.limits import Priority, Ticket


@dataclass(slots=True)
class Permit:
    """The permit of one slot of a consumer, for its calls of the handler one after another.

    *may_send* raises LeaseLost where the handler must send nothing more. *ticket*: the event's place in the line for a
    rate limit, from an earlier call of its handler. *priority*: the event's at a rate limit. *asked*: this call of the
    handler has had a place already.
    """

    may_send: Callable[[], None]
    ticket: Ticket | None = None
    priority: Priority = "live"
    asked: bool = False

    def begin(self, ticket: Ticket | None, priority: Priority) -> None:
        """A handler is about to be called."""
        self.ticket = ticket
        self.priority = priority
        self.asked = False


current: Final[ContextVar[Permit | None]] = ContextVar("current", default=None)
"""The permit of the running task. Tasks that a handler starts inherit it. None: outside of a handler, where everything
may be sent."""


def may_send() -> None:
    """Raises: LeaseLost where the running task must send nothing more."""
    permit = current.get()
    if permit is not None:
        permit.may_send()


def priority() -> Priority:
    """The running task's priority at a rate limit. Outside of a handler an operator or another system waits: live."""
    permit = current.get()
    return "live" if permit is None else permit.priority
