"""The errors of Ferryman, named for what to do next and not for where they arose.

FerrymanError
├── Transient        nothing happened; try again, after retry_after_s if given
│   ├── PairLimited      too many messages to this one person; the others go on
│   └── TemplateStopped  no messages of this one template for now; the others go on
├── Uncertain        it may have happened; look before trying again
├── ChannelDown      account, token, payment, credit: stop this channel, alert once
├── NotSent          we sent nothing: wait, at no cost
│   ├── ChannelClosed    the channel's breaker is open, or an operator paused it: wait until it is back
│   ├── LeaseLost        another process may own the event by now: leave it
│   └── StoreAway        a store of ours did not answer: try again
├── Permanent        it will fail the same way every time
│   ├── Malformed    the bytes or their shape cannot be understood
│   ├── TooLong      the other side's answer is longer than we read
│   ├── Unwritten    it was done, and Postgres refuses what is to be written of it
│   └── Refused      the other side understood and said no
│       ├── Exists   what was to be made exists already
│       ├── Foreign  the other side answered with another person than the one we asked for
│       └── OutsideWindow  the person has not written within 24 hours
└── UsageError       what an operator typed cannot be meant: it is typed anew

Texts never carry a phone, a name, a message or a token, and nothing that an outside system wrote: they reach logs,
tables and the operator's page. What the other side wrote is in `said`, which reaches no log.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal, TypeAlias

Operation: TypeAlias = Literal["read", "write"]
"""The two kinds of calls to an outside system: a read can be repeated without harm."""

_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


class FerrymanError(Exception):
    """Base of every error that the bus knows how to act on."""

    channel: str | None = None
    """The channel (an outside system's account) whose call ended in this error; None: the error came from no call."""

    operation: Operation | None = None
    """The kind of that call."""

    said: str = ""
    """What the other side wrote about it, masked: for rows that an operator reads, never for a log."""

    code: str = "error"
    """Our own short name for it (`http-500`, `no-connection`), else the name of its class: for logs, and for what a
    process reports of itself. It holds nothing that the other side wrote but numbers that HTTP or we have a list of."""

    instead: tuple[str, ...] = ()
    """Channels by which the event may go in the place of *channel*: it is looked at again when one of them is open."""

    answered: bool = False
    """The other side is known to answer all the same: the event is at fault, so no breaker counts this error."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.code = _WORD.sub("-", cls.__name__).lower()

    @property
    def full_text(self) -> str:
        """The text for a row: what we know of the error, and what the other side wrote about it."""
        return f"{self}: {self.said}" if self.said else str(self)


class Transient(FerrymanError):
    """Nothing happened outside; the same call may succeed later.

    *retry_after_s*: seconds the other side asked for, already bounded, or None.
    *limited*: the other side said that we ask too often (429 and the like): every process pauses calls in that scope.
    """

    def __init__(self, text: str, *, retry_after_s: float | None = None, limited: bool = False) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
        self.limited = limited


class PairLimited(Transient):
    """The other side takes no more messages to this one person in so short a time. It goes on to take others."""

    answered = True


class TemplateStopped(Transient):
    """The other side takes no messages of this template for now: it is paused, or switched off. It goes on to take
    others."""

    answered = True


class Uncertain(FerrymanError):
    """The request was written and no usable answer came: it may have happened. Look before trying again."""


class ChannelDown(FerrymanError):
    """The account, token, payment or credit of *channel* is at fault: no call on it can succeed until a person acts."""

    def __init__(self, text: str, *, channel: str) -> None:
        super().__init__(text)
        self.channel = channel


class NotSent(FerrymanError):
    """We sent nothing. The event waits, and that costs no attempt."""


class ChannelClosed(NotSent):
    """*channel* is not called now: its breaker is open, or an operator has paused it."""

    def __init__(self, text: str, *, channel: str) -> None:
        super().__init__(text)
        self.channel = channel


class LeaseLost(NotSent):
    """The lease of the event's partition has run out: another process may be handling the event."""


class StoreAway(NotSent):
    """A store of ours did not answer the handler: a fault of neither the event nor an outside system."""


class Permanent(FerrymanError):
    """It will fail the same way every time."""


class Malformed(Permanent):
    """The bytes, or the shape of what they hold, cannot be understood."""


class TooLong(Permanent):
    """The other side's answer is longer than we read, also when asked again."""


class Unwritten(Permanent):
    """The event was handled, its calls made, and Postgres refuses what its worker writes of that."""


class Refused(Permanent):
    """The other side understood and said no."""


class Exists(Refused):
    """What was to be made exists already: another client, or an attempt of ours whose answer was lost, has made it."""


class Foreign(Refused):
    """The other side answered with another person than the one we asked for. That person is never written to."""


class OutsideWindow(Refused):
    """Free text to a person who has not written within 24 hours, as the provider knows it; nothing was sent."""


class UsageError(FerrymanError):
    """What an operator typed cannot be meant: it is typed anew, and not tried again."""
