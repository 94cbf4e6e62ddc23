"""The chats of Meta's simulator: which message a reaction may go to, and which may be marked as read.

Meta takes a reaction whatever it is about. One to a message that is older than 30 days, is not of the chat, or is a
reaction itself then fails (131009); of another one nothing is told beyond `sent`
(developers.facebook.com, WhatsApp: Reaction messages). An id that is none of a person's message cannot be marked as
read (131009: Mark messages as read).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

OLDEST_S: Final = 30 * 86400.0
"""Of a message that somebody may react to."""


@dataclass(slots=True)
class Said:
    """A message of a chat. *at*: when it was written, in seconds since 1970."""

    person: str
    theirs: bool
    reaction: bool
    at: float


class Chats:
    """The messages of all chats, by their ids (`said`)."""

    def __init__(self) -> None:
        self.said: dict[str, Said] = {}

    def note(self, id: str, person: str, *, theirs: bool, reaction: bool = False) -> None:
        """A message is in the chat of *person* from now on. *theirs*: they have written it."""
        self.said[id] = Said(person, theirs, reaction, time.time())

    def takes_reaction(self, id: str, person: str) -> bool:
        """Whether a reaction of ours to that message reaches *person*."""
        one = self.said.get(id)
        return one is not None and one.person == person and not one.reaction and time.time() - one.at < OLDEST_S

    def takes_mark(self, id: str) -> bool:
        """Whether that message can be marked as read."""
        one = self.said.get(id)
        return one is not None and one.theirs
