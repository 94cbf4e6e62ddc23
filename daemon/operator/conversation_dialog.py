"""The dialog of a conversation, as its stored context has it. A document of any shape is read: what is no part of a
dialog is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

HIDDEN: Final = "…"
"""In place of what a person has written."""

_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Question:
    """A question that was asked. *id*: of its message. *options*: the values that could be chosen and their titles, in
    lower case."""

    id: UUID
    field: str
    options: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialog:
    """*field*: what the open question asks for; None: none is open. *params*: what is known. *since*: when the open
    question was asked. *wrong*: wrong answers to it in a row. *paused_until*: so long the bot is silent."""

    name: str | None
    id: str | None
    field: str | None
    params: Mapping[str, str]
    questions: Sequence[Question]
    since: datetime | None
    reminded: bool
    wrong: int
    paused_until: datetime | None

    @property
    def asked(self) -> Sequence[Question]:
        """How the open question was asked, each time."""
        return [one for one in self.questions if one.field == self.field]

    def shown(self, *, reveal: bool) -> dict[str, str]:
        """What is known. Without *reveal* only what was chosen from options that we have offered: the rest is what the
        person has written."""
        offered = {one.field: one.options for one in self.questions}
        return {
            name: value if reveal or value.casefold() in offered.get(name, ()) else HIDDEN
            for name, value in self.params.items()
        }


def dialog_in(context: Mapping[str, Any]) -> Dialog:
    """The dialog of *context*."""
    params = context.get("orderParams")
    return Dialog(
        name=_text(context.get("dialog")),
        id=_text(context.get("dialogId")),
        field=_text(context.get("clarifyingField")),
        params={str(name): str(value) for name, value in params.items()} if isinstance(params, dict) else {},
        questions=[one for one in map(_question, _items(context.get("asked"))) if one is not None],
        since=_moment(context.get("since")),
        reminded=context.get("reminded") is True,
        wrong=wrong if isinstance(wrong := context.get("wrong"), int) else 0,
        paused_until=_moment(context.get("pausedUntil")),
    )


def _question(told: Any) -> Question | None:
    if not isinstance(told, dict):
        return None
    id, field = _uuid(told.get("id")), _text(told.get("field"))
    if id is None or field is None:
        return None
    options = (text for option in _items(told.get("options")) for text in _items(option))
    return Question(id, field, frozenset(text.casefold() for text in options if isinstance(text, str)))


def _items(told: Any) -> Sequence[Any]:
    return told[:_MOST] if isinstance(told, list) else ()


def _text(told: Any) -> str | None:
    return told if isinstance(told, str) and told else None


def _uuid(told: Any) -> UUID | None:
    try:
        return UUID(told) if isinstance(told, str) else None
    except ValueError:
        return None


def _moment(told: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(told) if isinstance(told, str) else None
        return None if at is None or at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
