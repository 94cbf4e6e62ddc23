"""The errors of Ferryman, named for what to do next and not for where they arose.

FerrymanError
├── Transient        nothing happened; try again, after retry_after_s if given
├── Uncertain        it may have happened; look before trying again
├── ChannelDown      account, token, payment, credit: stop this channel, alert once
└── Permanent        it will fail the same way every time
    ├── Malformed    the bytes or their shape cannot be understood
    └── Refused      the other side understood and said no

Texts never carry a phone, a name, a message or a token: they reach logs, tables and the operator's page.
"""

from __future__ import annotations


class FerrymanError(Exception):
    """Base of every error that the bus knows how to act on."""

    operation: str | None = None
    """The kind of call that it ended ("read", "write"), where a provider's breaker let one through."""


class Transient(FerrymanError):
    """Nothing happened outside; the same call may succeed later.

    *retry_after_s*: seconds the other side asked for, already bounded, or None.
    *limited*: the other side said that we ask too often (429 and its like): every process pauses for the scope.
    """

    def __init__(self, text: str, *, retry_after_s: float | None = None, limited: bool = False) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
        self.limited = limited


class Uncertain(FerrymanError):
    """The request was written and no usable answer came: it may have happened. Look before trying again."""


class ChannelDown(FerrymanError):
    """The account, token, payment or credit of *channel* is at fault: no call on it can succeed until a person acts."""

    def __init__(self, text: str, *, channel: str) -> None:
        super().__init__(text)
        self.channel = channel


class Permanent(FerrymanError):
    """It will fail the same way every time."""


class Malformed(Permanent):
    """The bytes, or the shape of what they hold, cannot be understood."""


class Refused(Permanent):
    """The other side understood and said no."""
