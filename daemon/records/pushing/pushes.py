"""A push as it is asked for and answered, and why a whole push is not taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from schemas.errors import FerrymanError
from schemas.records.answers import Answer

Refusal: TypeAlias = Literal["malformed", "replica-of-another", "replica-forked", "loop", "cursor-expired", "busy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PushIn:
    """What a replica sends. *replica*: its name; None: it has none, and its principal stands for it. *ack*: of the
    answer that it has had last. *sent_at*: by its own clock. *cursor*: up to which it has pulled. *via*: the feeds of
    the servers that the operations have come through. *operations*: as they were sent, each is read by itself. *size*:
    in bytes."""

    replica: str | None = None
    ack: str | None = None
    sent_at: datetime | None = None
    cursor: str | None = None
    via: tuple[str, ...] = ()
    operations: Sequence[object] = ()
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOut:
    """The answers, in the order of the operations. *ack*: what the replica sends with its next push. *provisional*:
    this server is an edge, and its upstream may correct what was applied."""

    ack: str | None
    server_time: datetime
    feed: str
    results: Sequence[Answer]
    provisional: bool = False


@dataclass(kw_only=True, eq=False)
class Refused(FerrymanError):
    """The push as a whole is not taken: nothing of it was applied, and the replica keeps its operations. *kind*: the
    type of its problem document. *detail*: what to do. *members*: more of it, for programs."""

    kind: Refusal
    detail: str
    members: Mapping[str, Any] = field(default_factory=dict)
    retry_after_s: float | None = None

    def __str__(self) -> str:
        return self.detail
