"""What a conversation remembers of its dialog: `conversations.context_json`. Values in, values out.

The keys `clarifyingField`, `orderParams`, `senderId`, `accountId` and `createdAt` are those of the seed; the others are
ours. What is not there is not written: a conversation without a dialog has neither `clarifyingField` nor `dialog`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from schemas.cleaned import cut, visible

MOST_ASKED: Final = 40
MOST_HANDLED: Final = 50
MOST_PAST: Final = 10
MOST_WAITING: Final = 3
MOST_PARAMS: Final = 40
LONGEST_VALUE: Final = 1000
_LONGEST_NAME: Final = 200
_LARGEST: Final = 2**31
_EARLIEST, _LATEST = 1970, 9000
"""Years between which a moment can be reckoned with."""

T = TypeVar("T")


class Asked(NamedTuple):
    """A question that was asked. *id*: of its message. *options*: title and value of each, in the order shown."""

    id: UUID
    field: str
    number: int
    options: tuple[tuple[str, str], ...] = ()


class Past(NamedTuple):
    """A dialog that is over. *number*: of its last message."""

    id: UUID
    number: int


class Waiting(NamedTuple):
    """A dialog that begins when the open one is over."""

    dialog: str
    id: UUID
    params: tuple[tuple[str, str], ...]
    language: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """*clarifying*: the field of the open question. *params*: what is known, each value as the person said it. *asked*:
    the questions of this dialog, oldest first. *number*: of its last message. *since*: when the open question was
    asked; None: it is to be asked yet. *wrong*: wrong answers to it in a row. *paused_until*: the bot is silent.
    *handled*: the names of the last messages that were heard. *version*: each change adds one.

    *sender_id*, *account_id*: as Chatwoot numbers them, told by the caller.
    """

    clarifying: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    sender_id: str | None = None
    account_id: str | None = None
    created_at: datetime | None = None
    dialog: str | None = None
    dialog_id: UUID | None = None
    language: str | None = None
    asked: tuple[Asked, ...] = ()
    number: int = 0
    since: datetime | None = None
    reminded: bool = False
    wrong: int = 0
    paused_until: datetime | None = None
    handled: tuple[str, ...] = ()
    past: tuple[Past, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    version: int = 0

    @property
    def is_open(self) -> bool:
        """Whether a dialog is under way."""
        return self.dialog is not None

    def question(self, id: UUID | None) -> Asked | None:
        """The question of this dialog whose message has that id."""
        return next((one for one in self.asked if one.id == id), None)

    def over(self) -> Context:
        """Without its dialog, which is remembered among the past ones."""
        past = self.past
        if self.dialog_id is not None:
            past = (*past, Past(self.dialog_id, self.number))[-MOST_PAST:]
        return Context(
            paused_until=self.paused_until,
            handled=self.handled,
            past=past,
            waiting=self.waiting,
            version=self.version,
        )

    def heard(self, message_key: str) -> Context:
        """With that message among those that were handled."""
        return replace(self, handled=(*self.handled, cut(message_key, _LONGEST_NAME))[-MOST_HANDLED:])

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        told: dict[str, Any] = {
            "clarifyingField": self.clarifying,
            "orderParams": dict(self.params) if self.dialog else None,
            "senderId": self.sender_id,
            "accountId": self.account_id,
            "createdAt": _written(self.created_at),
            "dialog": self.dialog,
            "dialogId": None if self.dialog_id is None else str(self.dialog_id),
            "language": self.language,
            "asked": [
                {"id": str(one.id), "field": one.field, "number": one.number, "options": [list(o) for o in one.options]}
                for one in self.asked
            ],
            "number": self.number,
            "since": _written(self.since),
            "reminded": self.reminded,
            "wrong": self.wrong,
            "pausedUntil": _written(self.paused_until),
            "handled": list(self.handled),
            "past": [[str(one.id), one.number] for one in self.past],
            "waiting": [
                {"dialog": one.dialog, "id": str(one.id), "params": dict(one.params), "language": one.language}
                for one in self.waiting
            ],
            "version": self.version,
        }
        return {key: value for key, value in told.items() if value or (key == "orderParams" and value is not None)}

    @classmethod
    def from_json(cls, told: object) -> Context:
        """The context of a JSON object. Never raises: what is no part of one is left out, and a document that is none
        of ours is an empty context."""
        if not isinstance(told, Mapping):
            return cls()
        kept = cls(
            paused_until=_moment(told.get("pausedUntil")),
            handled=_many(told.get("handled"), _text, MOST_HANDLED),
            past=_many(told.get("past"), _past, MOST_PAST),
            waiting=_many(told.get("waiting"), _waiting, MOST_WAITING),
            version=_count(told.get("version")),
        )
        dialog, dialog_id = _text(told.get("dialog")), _uuid(told.get("dialogId"))
        if dialog is None or dialog_id is None:
            return kept
        return replace(
            kept,
            clarifying=_text(told.get("clarifyingField")),
            params=params_of(told.get("orderParams")),
            sender_id=_text(told.get("senderId")),
            account_id=_text(told.get("accountId")),
            created_at=_moment(told.get("createdAt")),
            dialog=dialog,
            dialog_id=dialog_id,
            language=_text(told.get("language")),
            asked=_many(told.get("asked"), _asked, MOST_ASKED),
            number=_count(told.get("number")),
            since=_moment(told.get("since")),
            reminded=told.get("reminded") is True,
            wrong=_count(told.get("wrong")),
        )


def params_of(told: object) -> dict[str, str]:
    """The texts of *told*, by their names, clean and cut."""
    if not isinstance(told, Mapping):
        return {}
    named = ((_text(name), value) for name, value in list(told.items())[:MOST_PARAMS])
    clean = {name: cut(visible(value), LONGEST_VALUE) for name, value in named if name and isinstance(value, str)}
    return {name: value for name, value in clean.items() if value}


def _written(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat()


def _moment(told: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(told) if isinstance(told, str) else None
        if at is None or at.tzinfo is None or not _EARLIEST < at.year < _LATEST:
            return None
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _text(told: object) -> str | None:
    if isinstance(told, int) and not isinstance(told, bool) and abs(told) < 2**63:
        return str(told)  # the seed has numbers of senders and accounts
    return told if isinstance(told, str) and 0 < len(told) <= _LONGEST_NAME else None


def _count(told: object) -> int:
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told < _LARGEST else 0


def _uuid(told: object) -> UUID | None:
    try:
        return UUID(told) if isinstance(told, str) else None
    except ValueError:
        return None


def _many(told: object, read: Callable[[Any], T | None], most: int) -> tuple[T, ...]:
    found = (read(one) for one in (told[-most:] if isinstance(told, list) else ()))
    return tuple(one for one in found if one is not None)


def _asked(told: object) -> Asked | None:
    if not isinstance(told, Mapping):
        return None
    id, name = _uuid(told.get("id")), _text(told.get("field"))
    if id is None or name is None:
        return None
    return Asked(id, name, _count(told.get("number")), _many(told.get("options"), _option, MOST_ASKED))


def _option(told: object) -> tuple[str, str] | None:
    match told:
        case [str() as title, str() as value]:
            return title, value
    return None


def _past(told: object) -> Past | None:
    match told:
        case [id, number] if (found := _uuid(id)) is not None:
            return Past(found, _count(number))
    return None


def _waiting(told: object) -> Waiting | None:
    if not isinstance(told, Mapping):
        return None
    dialog, id = _text(told.get("dialog")), _uuid(told.get("id"))
    if dialog is None or id is None:
        return None
    return Waiting(dialog, id, tuple(params_of(told.get("params")).items()), _text(told.get("language")))
