"""What is said of an event that a worker has, or has not, ended with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

NEXT: Final = "its turn has not come yet, or it is being worked on"

Who: TypeAlias = Literal["nobody", "operator", "admin", "provider"]
"""Who can change it: nobody need; whoever may use the verbs; whoever may change settings; the other side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """*text*: in plain words, without a full stop. *rule*: which one held, as a name. *since*: when it came to that.
    *next_at*: when something happens by itself. *link*: the page that says more. *asked_at*: when the process that
    holds the event was asked, where it was."""

    text: str
    rule: str
    since: datetime | None = None
    next_at: datetime | None = None
    who_can_act: Who = "nobody"
    link: str | None = None
    asked_at: datetime | None = None

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def shown(at: datetime) -> str:
    """UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
