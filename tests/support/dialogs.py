"""One conversation with a dialog, whose context goes through JSON after every step, as if the process began anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final
from uuid import UUID

from daemon.conversations.dialogs.dialog import Ask, Context, Said, Step, begin, due, heard, matches_open_question
from daemon.conversations.dialogs.rules import DIALOGS, DialogRules
from daemon.rules.files import SHIPPED
from schemas.messages import Choices

RULES: Final[DialogRules] = SHIPPED(DIALOGS)
START: Final = datetime(2031, 2, 14, 9, 0, tzinfo=UTC)
CHAT: Final = "chatwoot:3:17"


class Talk:
    """A person and the bot. *asks*: all that the bot has said. *steps*: all that has happened."""

    def __init__(self, rules: DialogRules = RULES, language: str | None = "en", dialog: str = "content_order") -> None:
        self.rules, self.language, self.dialog = rules, language, dialog
        self.context = Context()
        self.now = START
        self.steps: list[Step] = []
        self.asks: list[Ask] = []
        self._keys = count(1)

    @property
    def last(self) -> Step:
        """The last step."""
        return self.steps[-1]

    @property
    def field(self) -> str | None:
        """The field of the open question, as the stored document has it."""
        told = self.context.to_json().get("clarifyingField")
        return None if told is None else str(told)

    @property
    def params(self) -> Mapping[str, str]:
        """What is known."""
        return self.context.params

    def question(self, field: str, nth: int = -1) -> UUID:
        """The id of a question that was asked for *field*."""
        return [one.id for one in self.context.asked if one.field == field][nth]

    def begin(self, params: Mapping[str, str] | None = None, *, key: str | None = None, **given: Any) -> Step:
        """A dialog begins."""
        name, language = given.pop("dialog", self.dialog), given.pop("language", self.language)
        key = self._key() if key is None else key
        return self._took(
            begin(self.rules, name, CHAT, params or {}, self.context, language, self.now, message_key=key, **given)
        )

    def say(self, text: str | None = None, *, key: str | None = None, **given: Any) -> Step:
        """The person writes."""
        key = self._key() if key is None else key
        said = Said(text=text, at=self.now, message_key=key, **given)
        surely = matches_open_question(self.rules, self.context, said)
        step = heard(self.rules, self.context, CHAT, said, self.now)
        assert step.used or not surely, "what is surely an answer is used"
        return self._took(step)

    def wait(self, **length: float) -> Step:
        """Time passes, and the clock looks at the dialog."""
        self.now += timedelta(**length)
        return self._took(due(self.rules, self.context, CHAT, self.now))

    def took(self, step: Step) -> Step:
        """Something else has happened."""
        return self._took(step)

    def _key(self) -> str:
        return f"chatwoot:{next(self._keys)}"

    def _took(self, step: Step) -> Step:
        stored = json.loads(json.dumps(step.context.to_json()))
        read_again = Context.from_json(stored)
        assert read_again == step.context, "a context is the same after it was stored"
        assert len(step.asks) <= 1, "the bot says one thing at a time"
        assert ("clarifyingField" in stored) <= ("dialog" in stored)
        changed = replace(step.context, version=0) != replace(self.context, version=0)
        assert step.context.version == self.context.version + changed
        self.context = read_again
        self.steps.append(step)
        self.asks += step.asks
        return step


def body(step: Step) -> str:
    """What the bot says in a step; "" where it is silent."""
    if not step.asks:
        return ""
    content = step.asks[0].content
    return content.text if isinstance(content, Choices) else content.body


def titles(step: Step) -> list[str]:
    """What may be tapped."""
    content = step.asks[0].content
    return [item.title for item in content.items] if isinstance(content, Choices) else []
