"""What a simulator was asked: the evidence that tests and the demo count by."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

WRITES: Final = frozenset({"create", "update", "send", "tag", "flow"})
"""The actions that change something outside."""


@dataclass(slots=True, kw_only=True)
class Asked:
    """One request. *at*: unix seconds. *contact*: phone digits or id, "" where it is about none.

    *status*: as answered, None while unanswered or when the connection was dropped. *performed*: whether the
    simulator did what was asked, whatever it answered. *made*: whether that made a new contact.
    """

    number: int
    at: float
    method: str
    path: str
    action: str
    contact: str
    status: int | None = None
    performed: bool = False
    made: bool = False


class Ledger:
    """Every request in its order of arrival, refused ones included."""

    def __init__(self) -> None:
        self.entries: list[Asked] = []

    def open(self, *, method: str, path: str, action: str, contact: str) -> Asked:
        """Write a request down as it arrives; the rest of its record follows on the returned entry."""
        entry = Asked(
            number=len(self.entries) + 1,
            at=time.time(),
            method=method,
            path=path,
            action=action,
            contact=contact,
        )
        self.entries.append(entry)
        return entry

    def of(self, action: str, contact: str | None = None) -> list[Asked]:
        """The requests of one action, of one contact or of all, performed or not."""
        return [e for e in self.entries if e.action == action and contact in (None, e.contact)]

    def writes(self, contact: str | None = None) -> list[Asked]:
        """The writes that were performed, of one contact or of all."""
        return [e for e in self.entries if e.performed and e.action in WRITES and contact in (None, e.contact)]

    def contacts_made(self) -> list[str]:
        """The contacts that creations made, in their order."""
        return [e.contact for e in self.entries if e.made]

    def creates_by_contact(self) -> Mapping[str, int]:
        """How many creations were performed for each contact, second ones that made nothing new included."""
        return Counter(e.contact for e in self.entries if e.performed and e.action == "create")

    def clear(self) -> None:
        self.entries.clear()

    def as_json(self) -> dict[str, Any]:
        """For `GET /_sandbox/ledger`."""
        return {
            "entries": [asdict(e) for e in self.entries],
            "contacts_made": self.contacts_made(),
            "creates_by_contact": dict(self.creates_by_contact()),
        }
