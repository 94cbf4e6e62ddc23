"""What belongs together of what people write: when it is understood, and what it says as one. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from adapters.postgres.buffered_messages import Buffered
from schemas.conversations import Chat, message_key
from schemas.envelope import Event
from schemas.told import SPOKEN, time_told

MOST_TEXT: Final = 100_000
"""Characters of what is understood as one."""

_LARGEST: Final = 10**18


class Pace(NamedTuple):
    """How long is waited for more: *after* the last message, and *within* of the first one at most."""

    after: timedelta
    within: timedelta


class Said(NamedTuple):
    """Messages as one. *keys*: of all of them. *text*: what they say, None where they say nothing in words. *key*,
    *kind*, *choice*, *answers*, *at*: of the last one that tells it. *first*: the first one with a text, else the first
    of all."""

    keys: tuple[str, ...]
    text: str | None
    key: str
    kind: str
    choice: str | None
    answers: UUID | None
    at: datetime
    first: Buffered


def message_of(told: Mapping[str, Any], event: Event, chat: Chat, now: datetime) -> Buffered:
    """The message of a `message.received`, as it is kept until it is understood. Raises: Malformed."""
    text, kind = _text(told.get("text")), str(told.get("kind") or "text")
    received = told.get("received")
    by_chatwoot = (isinstance(received, Mapping) and _text(received.get("source_id"))) or None
    id = _text(told.get("message_id"))
    return Buffered(
        chat=chat.key,
        key=message_key(told) or f"{chat.system}:event:{event.id}",
        event_id=event.id,
        place=_place(id),
        at=time_told(dict(told), event.time),
        kind=kind,
        text=text,
        came_at=now,
        choice=_text(told.get("choice")),
        source_id=by_chatwoot if chat.account is not None else id,
        waits_for_text=kind in SPOKEN and text is None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _place(id: str | None) -> int:
    """Ids that are numbers count up, as Chatwoot's do; others have no order, so their times decide."""
    if id is None or not (id.isascii() and id.isdigit()) or len(id) > len(str(_LARGEST)):
        return 0
    return min(int(id), _LARGEST)


def settles_at(waiting: Sequence[Buffered], now: datetime, pace: Pace) -> datetime:
    """When these messages are to be understood, the last of which has come *now*. A voice note without its text is
    waited for, but not longer than for anything else."""
    last = min(one.came_at for one in waiting) + pace.within
    return last if any(one.waits_for_text for one in waiting) else min(now + pace.after, last)


def as_one(waiting: Sequence[Buffered]) -> Said:
    """What these messages say as one; there is at least one of them."""
    ordered = sorted(waiting, key=lambda one: (one.place, one.at, one.key))
    texts = [one.text.strip() for one in ordered if one.text is not None]
    worded = [one for one in ordered if one.text is not None]
    answering = next((one for one in reversed(ordered) if one.answers is not None or one.choice is not None), None)
    last = ordered[-1]
    return Said(
        keys=tuple(one.key for one in ordered),
        text="\n".join(texts)[:MOST_TEXT] or None,
        key=last.key,
        kind=_kind(ordered),
        choice=None if answering is None else answering.choice,
        answers=None if answering is None else answering.answers,
        at=max(one.at for one in ordered),
        first=(worded or ordered)[0],
    )


def _kind(ordered: Sequence[Buffered]) -> str:
    """The kind of several messages: that of a file among them, as its words are told beside."""
    files = [one.kind for one in ordered if one.kind not in ("text", "choice", *SPOKEN)]
    return files[-1] if files else ordered[-1].kind
