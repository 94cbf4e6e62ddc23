"""What tests of senders share: a message, and a claim that tells when it was awaited."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from daemon.sandbox.ledger import Ledger
from schemas.messages import Content, OutboundMessage
from schemas.phone import Phone

OUR_ID: Final = UUID("0d41f00d-0000-4000-8000-000000000001")
PHONE: Final = Phone("+972505550142")


def message(content: Content, *, to: Phone = PHONE, name: str | None = None) -> OutboundMessage:
    """A message of ours."""
    return OutboundMessage(id=OUR_ID, to=to, content=content, name=name)


class Claims:
    """A claim. *sent_before*: for each time that it was awaited, how many sends the simulator had seen until then.
    *error*: what it raises."""

    def __init__(self, ledger: Ledger, error: Exception | None = None) -> None:
        self._ledger = ledger
        self.error = error
        self.sent_before: list[int] = []

    async def __call__(self) -> None:
        self.sent_before.append(sends(self._ledger))
        if self.error is not None:
            raise self.error


def sends(ledger: Ledger) -> int:
    """How many calls that send have come in, whatever became of them."""
    return sum(entry.action in ("send", "flow") for entry in ledger.entries)
