"""One step of a dialog under way: what is asked next, and how it ends. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from daemon.conversations.dialogs.asking import Speaker, language_of
from daemon.conversations.dialogs.context import MOST_ASKED, MOST_WAITING, Context, Waiting
from daemon.conversations.dialogs.rules import Dialog, DialogField, DialogRules
from daemon.conversations.dialogs.steps import Ask, Completed, Escalated, Said, Step, What
from daemon.conversations.dialogs.values import completed

WRONG_ANSWERS: Final = "wrong answers"
TIMEOUT: Final = "timeout"
ALL_KNOWN: Final = "all is known"


class Turn:
    """One step under way. *context*: as it has become so far."""

    def __init__(self, rules: DialogRules, chat_key: str, context: Context, now: datetime) -> None:
        self._rules, self._chat, self._before, self._now = rules, chat_key, context, now
        self.context = context

    @property
    def dialog(self) -> Dialog | None:
        """The open dialog, as far as the rules have it still."""
        return self._rules.dialog(self.context.dialog)

    @property
    def is_silent(self) -> bool:
        """Whether a human agent talks."""
        return self.context.paused_until is not None and self._now < self.context.paused_until

    @property
    def due_at(self) -> datetime | None:
        """When the clock is to look at it."""
        context, dialog = self.context, self.dialog
        if not context.is_open and not context.waiting:
            return None
        if context.paused_until is not None:
            return context.paused_until
        if dialog is None or context.since is None:
            return self._now
        if dialog.reminder is not None and not context.reminded:
            return context.since + min(dialog.reminder.after, dialog.timeout)
        return context.since + dialog.timeout

    def step(
        self, *asks: Ask, used: bool = True, completed: Completed | None = None, why: Escalated | None = None
    ) -> Step:
        """The step that the turn comes to."""
        changed = self.context != self._before
        context = replace(self.context, version=self._before.version + 1) if changed else self.context
        return Step(context, asks, completed, why, used, self.due_at)

    def go_on(self) -> Step:
        """Ask for what is missing and not asked for yet; or complete the dialog."""
        dialog = self.dialog
        if dialog is None:
            return self.withdraw()
        if not self.is_silent and self.context.paused_until is not None:
            self.context = replace(self.context, paused_until=None)
        missing = first_missing(dialog, self.context)
        if missing is None:
            return self.step() if self._later(None) else self._complete(dialog)
        if missing.name == self.context.clarifying and self.context.since is not None:
            return self.step()
        return self.step() if self._later(missing) else self.ask(missing)

    def wake(self, message_key: str) -> None:
        """A message is heard that is for the dialog. A silence that has ended is no more: what was open is asked again
        unless it is answered now."""
        self.context = self.context.heard(message_key)
        if self.context.paused_until is not None and not self.is_silent:
            self.context = replace(self.context, paused_until=None, since=None)

    def answer(self, values: Mapping[str, str]) -> Step:
        """Take answers."""
        self.context = replace(self.context, params={**self.context.params, **values})
        return self.go_on()

    def _later(self, missing: DialogField | None) -> bool:
        """Whether the bot is silent; then what it is to ask is noted."""
        if self.is_silent and (missing is None or missing.name != self.context.clarifying):
            self.context = replace(self.context, clarifying=missing.name if missing else None, since=None, wrong=0)
        return self.is_silent

    def ask(self, field: DialogField, what: What = "question", before: str = "") -> Step:
        """Ask for *field*."""
        assert self.dialog is not None
        ask, asked = Speaker(self._rules, self.dialog, self._chat, self.context).question(field, what, before)
        self.context = replace(
            self.context,
            clarifying=field.name,
            asked=(*self.context.asked, asked)[-MOST_ASKED:],
            number=asked.number,
            since=self._now if what == "question" else self.context.since,
            reminded=what == "reminder",
            wrong=self.context.wrong if before else 0,
        )
        return self.step(ask)

    def wrong(self, said: Said) -> Step:
        """Ask again; or leave it to a person."""
        dialog, count = self.dialog, self.context.wrong + 1
        assert dialog is not None
        field = dialog.field(self.context.clarifying)
        assert field is not None
        if count > dialog.give_up.wrong_answers:
            return self._escalate(WRONG_ANSWERS, said.text, speak=True)
        self.context = replace(self.context, wrong=count)
        return self.ask(field, before=Speaker(self._rules, dialog, self._chat, self.context).wrong(field))

    def cancel(self) -> Step:
        """The person wants no more of it."""
        return self._end("canceled")

    def restart(self) -> Step:
        """From the first question, without the answers."""
        dialog = self.dialog
        assert dialog is not None
        kept = {name: value for name, value in self.context.params.items() if dialog.field(name) is None}
        self.context = replace(self.context, params=kept, clarifying=None, since=None, wrong=0)
        return self.go_on()

    def remind(self) -> Step:
        """Ask again, once, because nobody answered."""
        dialog = self.dialog
        assert dialog is not None
        field = dialog.field(self.context.clarifying) or first_missing(dialog, self.context)
        if field is None:
            return self.go_on()
        return self.ask(field, "reminder", Speaker(self._rules, dialog, self._chat, self.context).reminder())

    def give_up(self) -> Step:
        """End it, as nobody answers."""
        assert self.dialog is not None
        if self.dialog.give_up.timeout == "escalate":
            return self._escalate(TIMEOUT, None, speak=False)
        return self.withdraw()

    def open(self, told: Waiting, sender_id: str | None = None, account_id: str | None = None) -> None:
        """Begin the dialog *told* in the place of what was there."""
        dialog = self._rules.dialog(told.dialog)
        self.context = replace(
            self.context.over(),
            params=dict(told.params),
            sender_id=sender_id,
            account_id=account_id,
            created_at=self._now,
            dialog=told.dialog,
            dialog_id=told.id,
            language=None if dialog is None else language_of(self._rules, dialog, told.language),
        )

    def add(self, told: Waiting, message_key: str) -> Step:
        """What is told while a dialog is open: more of the same, or a dialog that waits, of which the newest counts."""
        open_one, new = self.dialog, self._rules.dialog(told.dialog)
        assert open_one is not None
        assert new is not None
        context, params = self.context.heard(message_key), dict(told.params)
        if _subject(new, params) == _subject(open_one, context.params):
            kept = {name: value for name, value in context.params.items() if name not in new.given}
            self.context = replace(context, params={**kept, **params})
            return self.go_on() if asks_for(open_one, self.context.params) else self.withdraw()
        others = [one for one in context.waiting if self._subject_of(one) != _subject(new, params)]
        waiting = (*others, told) if asks_for(new, params) else tuple(others)
        self.context = replace(context, waiting=waiting[-MOST_WAITING:])
        return self.step()

    def _subject_of(self, waiting: Waiting) -> tuple[str, str | None] | None:
        dialog = self._rules.dialog(waiting.dialog)
        return None if dialog is None else _subject(dialog, dict(waiting.params))

    def withdraw(self) -> Step:
        """End it without a word: there is nothing to ask for any more."""
        self.context = self.context.over()
        return self.step()

    def again(self, name: str) -> Step:
        """Ask for a field anew, as the person wishes."""
        params = {field: value for field, value in self.context.params.items() if field != name}
        self.context = replace(self.context, params=params)
        dialog = self.dialog
        assert dialog is not None
        field = dialog.field(name)
        assert field is not None
        if self.is_silent:
            return self.go_on()
        self.context = replace(self.context, wrong=0)
        return self.ask(field)

    def begin_waiting(self) -> Step:
        """Begin the dialog that waits longest."""
        first, *others = self.context.waiting
        self.context = replace(self.context, waiting=tuple(others))
        self.open(first)
        return self.go_on()

    def _complete(self, dialog: Dialog) -> Step:
        id = self.context.dialog_id
        assert id is not None
        told = Completed(dialog.name, id, completed(dialog, self.context.params))
        speaker = Speaker(self._rules, dialog, self._chat, self.context)
        ask, why = speaker.confirmation(), None
        if dialog.done.hand_over:
            why = Escalated(ALL_KNOWN, speaker.note(ALL_KNOWN, None), dialog.done.labels)
        self.context = replace(self.context, number=self.context.number + 1).over()
        return self.step(ask, completed=told, why=why)

    def _end(self, notice: str) -> Step:
        assert self.dialog is not None
        asks = () if self.is_silent else (Speaker(self._rules, self.dialog, self._chat, self.context).notice(notice),)
        self.context = replace(self.context, number=self.context.number + len(asks)).over()
        return self.step(*asks)

    def _escalate(self, why: str, last: str | None, *, speak: bool) -> Step:
        """Leave it to a person, and what waits behind it too."""
        dialog = self.dialog
        assert dialog is not None
        speaker = Speaker(self._rules, dialog, self._chat, self.context)
        told = Escalated(why, speaker.note(why, last), dialog.give_up.labels)
        asks = (speaker.notice("handed_over"),) if speak else ()
        over = replace(self.context, number=self.context.number + len(asks)).over()
        self.context = replace(over, waiting=())
        return self.step(*asks, why=told)


def first_missing(dialog: Dialog, context: Context) -> DialogField | None:
    """The first field that is to be asked for; None where all is known."""
    for field in dialog.fields:
        if field.required and field.name not in context.params and _applies(field, context.params):
            return field
    return None


def asks_for(dialog: Dialog, params: Mapping[str, str]) -> bool:
    """Whether there is anything that the dialog would ask for, were nothing known."""
    return any(field.required and _applies(field, params) for field in dialog.fields)


def _applies(field: DialogField, params: Mapping[str, str]) -> bool:
    """Whether the conditions of *field* hold: each of what was given is, or lists, one of the values."""
    told = {name: {one.strip().lower() for one in params.get(name, "").split(",")} for name in field.where}
    return all(not told[name].isdisjoint(value.lower() for value in values) for name, values in field.where.items())


def _subject(dialog: Dialog, params: Mapping[str, str]) -> tuple[str, str | None]:
    """What tells one dialog from another that may be open beside it."""
    return dialog.name, None if dialog.about is None else params.get(dialog.about)
