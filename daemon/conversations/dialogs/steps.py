"""What goes into a dialog, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from daemon.conversations.dialogs.context import Context
from schemas.messages import Choices, Text


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Said:
    """What a person has written. *choice*: the value of what was tapped, where the system tells it. *answers*: the id
    of our message that it replies to, None where it replies to none of ours. *kind*: as of `message.received`.
    *at*: when. *message_key*: its name over all systems; the same one is heard once."""

    text: str | None
    choice: str | None = None
    answers: UUID | None = None
    kind: str = "text"
    at: datetime
    message_key: str


What: TypeAlias = Literal["question", "reminder", "confirmation", "notice"]


@dataclass(frozen=True, slots=True, repr=False)
class Ask:
    """A message to the person. *id*: of the message, the same whenever this step is made."""

    id: UUID
    content: Text | Choices
    what: What


@dataclass(frozen=True, slots=True, repr=False)
class Completed:
    """All that the dialog *dialog* asks for is known. *id*: of the dialog. *params*: by field, values of options in
    small letters; and what the dialog was given besides."""

    dialog: str
    id: UUID
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True, repr=False)
class Escalated:
    """A person is to go on. *why*: `wrong answers` or `timeout`. *note*: for the agents, with what is known. *labels*:
    for the conversation."""

    why: str
    note: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Step:
    """What became of it. *context*: to be kept; its version has grown where anything changed. *asks*: one at most.
    *used*: False: what was said is no answer, and counts as if no dialog were open. *due_at*: when `due` is to be
    called; None: never."""

    context: Context
    asks: tuple[Ask, ...] = ()
    completed: Completed | None = None
    escalated: Escalated | None = None
    used: bool = True
    due_at: datetime | None = None
