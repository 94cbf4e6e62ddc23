"""What outgoing webhooks need of the outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one try. *error*: our code, "" where it was delivered. *body*: the beginning of the answer, cleaned.
    *ours*: the fault is on our side, and says nothing of the subscriber. *aborts*: it never wants this message.
    *retry_after_s*: how long it asks us to wait."""

    status: int | None = None
    error: str = ""
    body: str = ""
    ms: int = 0
    ours: bool = False
    aborts: bool = False
    retry_after_s: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether it was taken."""
        return not self.error


class Deliverer(Protocol):
    """Posts to subscribers."""

    async def post(self, url: str, id: str, body: str, secrets: Sequence[str], at: datetime) -> Answer:
        """Post *body* once. *id*: of the message, the same on every try; *at*: the time of this one. It is signed by
        each of *secrets*. Raises: LeaseLost, where the permit of the running task is over; nothing was sent then."""
        ...
