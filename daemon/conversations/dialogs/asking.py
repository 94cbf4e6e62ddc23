"""What a dialog says: its questions, and what it says beside them, in the person's language."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Final, TypeVar
from uuid import UUID

from daemon.conversations.dialogs.context import Asked, Context
from daemon.conversations.dialogs.rules import LONGEST_BODY, Dialog, DialogField, DialogRules, said_in
from daemon.conversations.dialogs.steps import Ask, What
from daemon.conversations.dialogs.values import shown
from daemon.messages.automatic_texts import filled
from schemas.cleaned import cut
from schemas.envelope import event_id
from schemas.messages import Choice, Choices, Text

T = TypeVar("T")

GAP: Final = "\n\n"
LAST_WORDS: Final = 200


def dialog_id(chat_key: str, message_key: str) -> UUID:
    """The id of the dialog that a message, or an event, begins."""
    return UUID(event_id("dialog", chat_key, message_key))


def message_id(chat_key: str, dialog: UUID, number: int) -> UUID:
    """The id of message *number*, from 1, of a dialog: the same whenever it is asked for."""
    return UUID(event_id("dialog message", chat_key, str(dialog), str(number)))


def language_of(rules: DialogRules, dialog: Dialog, language: str | None) -> str:
    """The language in which a dialog is held with a person of that *language*."""
    return language if language in dialog.languages else rules.language


def notice(rules: DialogRules, name: str, language: str | None, values: Mapping[str, str] | None = None) -> str:
    """The notice *name* of the rules, as `bucket_failed`, with *values* in its places."""
    text = said_in(getattr(rules.notices, name), language or rules.language, rules.language)
    known = {} if values is None else values
    return cut(filled(str(text), lambda place: known.get(place, ""), {}, UTC), LONGEST_BODY)


class Speaker:
    """Says what a dialog has to say in one conversation. *context*: as it is before."""

    def __init__(self, rules: DialogRules, dialog: Dialog, chat_key: str, context: Context) -> None:
        self._rules, self._dialog, self._chat, self._context = rules, dialog, chat_key, context
        self._language = language_of(rules, dialog, context.language)

    def question(self, field: DialogField, what: What = "question", before: str = "") -> tuple[Ask, Asked]:
        """The question for *field*, with a text *before* it; and what is to be remembered of it."""
        body = self._filled(self._said(field.prompt))
        body = cut(f"{before}{GAP}{body}" if before else body, LONGEST_BODY)
        items = tuple(Choice(self._said(one.title), one.value) for one in field.options)
        ask = self._ask(Choices(body, items) if items else Text(body), what)
        pairs = tuple((item.title, item.value) for item in items)
        return ask, Asked(ask.id, field.name, self._context.number + 1, pairs)

    def wrong(self, field: DialogField) -> str:
        """What stands before the question for *field* when it is asked again."""
        if field.wrong is not None:
            return self._said(field.wrong)
        return notice(self._rules, f"wrong_{field.kind}", self._language)

    def reminder(self) -> str:
        """What stands before the question when it is asked again because nobody answered."""
        return "" if self._dialog.reminder is None else self._said(self._dialog.reminder.text)

    def confirmation(self) -> Ask:
        """What is said when all is known."""
        return self._ask(Text(cut(self._filled(self._said(self._dialog.confirmation)), LONGEST_BODY)), "confirmation")

    def notice(self, name: str) -> Ask:
        """A notice of the rules."""
        return self._ask(Text(notice(self._rules, name, self._language)), "notice")

    def note(self, why: str, last: str | None) -> str:
        """For the agents: what is known, what is missing, and what the person said *last*."""
        rules, dialog, params = self._rules, self._dialog, self._context.params
        lines = [f"{said_in(dialog.title, rules.language, rules.language)}: handed over ({why})."]
        for field in dialog.fields:
            label = said_in(field.names, rules.language, rules.language)[0]
            if field.name in params:
                lines.append(f"{label}: {self._shown(field.name)}")
            elif field.name == self._context.clarifying:
                lines.append(f"{label}: asked for, not answered")
        lines += [f"{name}: {self._shown(name)}" for name in params if dialog.field(name) is None]
        if last:
            lines.append(f"Last words: {shown(dialog, '', cut(last, LAST_WORDS), '', '')}")
        lines += [f"Not begun: {one.dialog}" for one in self._context.waiting]
        return "\n".join(lines)

    def _shown(self, name: str) -> str:
        return shown(self._dialog, name, self._context.params[name], self._language, self._rules.language)

    def _said(self, texts: Mapping[str, T]) -> T:
        return said_in(texts, self._language, self._rules.language)

    def _filled(self, text: str) -> str:
        params = self._context.params
        return filled(text, lambda name: self._shown(name) if name in params else "", {}, UTC)

    def _ask(self, content: Text | Choices, what: What) -> Ask:
        assert self._context.dialog_id is not None
        return Ask(message_id(self._chat, self._context.dialog_id, self._context.number + 1), content, what)
