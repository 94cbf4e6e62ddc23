"""A dialog: it asks for what is missing, one question at a time, until all is known. Values in, values out.

A pure state machine: the rules, the context of the conversation and the clock are given; what is to be sent, kept and
told comes back as a `Step`. The same step made again gives messages with the same ids, so that each is sent once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from daemon.conversations.dialog_asking import Speaker, dialog_id, language_of, message_id
from daemon.conversations.dialog_context import MOST_ASKED, MOST_WAITING, Context, Waiting
from daemon.conversations.dialog_lexicon import option_phrases
from daemon.conversations.dialog_reading import read
from daemon.conversations.dialog_rules import Dialog, DialogField, DialogRules
from daemon.conversations.dialog_steps import Ask, Completed, Escalated, Said, Step, What
from daemon.conversations.dialog_values import accepted, completed
from daemon.conversations.matching import same

__all__ = [
    "Ask",
    "Completed",
    "Context",
    "Escalated",
    "Said",
    "Step",
    "begin",
    "due",
    "heard",
    "matches_open_question",
    "paused",
    "resumed",
]

WRONG_ANSWERS: Final = "wrong answers"
TIMEOUT: Final = "timeout"


def begin(
    rules: DialogRules,
    dialog_name: str,
    chat_key: str,
    params: Mapping[str, str],
    context: Context,
    language: str | None,
    now: datetime,
    *,
    message_key: str,
    sender_id: str | None = None,
    account_id: str | None = None,
) -> Step:
    """Begin a dialog, with the *params* that are known already; they are not asked for.

    *message_key*: of the message, or the id of the event, that begins it: the same one begins one dialog. While the
    same dialog is open, *params* are taken as further answers to it. While another one is open, this one waits until
    that is over. Where the bot is silent, the first question is asked later, by `due`. A dialog that the rules do not
    have, or that is off, is not begun: the step is not *used*.
    """
    dialog = rules.dialog(dialog_name)
    id = dialog_id(chat_key, message_key)
    begun = [context.dialog_id, *(one.id for one in context.past), *(one.id for one in context.waiting)]
    if dialog is None or not dialog.enabled:
        return _Turn(rules, chat_key, context, now).step(used=False)
    known = accepted(dialog, params)
    turn = _Turn(rules, chat_key, context, now)
    if id in begun or message_key in context.handled:
        return turn.step()
    if context.dialog == dialog_name:
        turn.context = replace(context.heard(message_key), params={**context.params, **known})
        return turn.go_on()
    if context.is_open and rules.dialog(context.dialog) is not None:
        waiting = Waiting(dialog_name, id, tuple(known.items()), language)
        turn.context = replace(context, waiting=(*context.waiting, waiting)[:MOST_WAITING])
        return turn.step()
    turn.context = replace(
        context.over(),
        params=known,
        sender_id=sender_id,
        account_id=account_id,
        created_at=now,
        dialog=dialog_name,
        dialog_id=id,
        language=language_of(rules, dialog, language),
    )
    return turn.go_on()


def heard(rules: DialogRules, context: Context, chat_key: str, said: Said, now: datetime) -> Step:
    """The person has written: an answer, a correction, a wish to cancel or to begin anew, a late tap; or something that
    is no answer (*used* is False then, and nothing changes). The same message heard again changes nothing."""
    turn = _Turn(rules, chat_key, context, now)
    if said.message_key in context.handled:
        return turn.step()
    if _is_tap_on_the_past(rules, context, chat_key, said):
        turn.context = context.heard(said.message_key)
        return turn.step()
    dialog = rules.dialog(context.dialog)
    if dialog is None:
        return turn.step(used=False)
    reading = read(rules, dialog, context, said)
    if not reading.used or (reading.wrong and turn.is_silent):
        return turn.step(used=False)
    turn.context = context.heard(said.message_key)
    if reading.control == "cancel":
        return turn.cancel()
    if reading.control == "restart":
        return turn.restart()
    if reading.wrong:
        return turn.wrong(said)
    turn.context = replace(turn.context, params={**context.params, **reading.values})
    return turn.go_on()


def matches_open_question(rules: DialogRules, context: Context, said: Said) -> bool:
    """Whether the message is surely for the dialog: a tap, a title, value, number or synonym of an option, a reply to a
    question, a word that cancels. Then it need not wait for what the person may write next."""
    dialog = rules.dialog(context.dialog)
    if dialog is None:
        return False
    reading = read(rules, dialog, context, said)
    return reading.sure or (reading.used and context.question(said.answers) is not None)


def due(rules: DialogRules, context: Context, chat_key: str, now: datetime) -> Step:
    """The clock: a dialog that waited begins, a silence ends, a reminder is sent once, and a dialog that nobody answers
    is given up. Before its time it changes nothing."""
    turn = _Turn(rules, chat_key, context, now)
    at = turn.due_at
    if at is None or now < at:
        return turn.step()
    if context.paused_until is not None:
        return resumed(rules, context, chat_key, now)
    if turn.dialog is None:
        return turn.begin_waiting()
    if context.since is None:
        return turn.go_on()
    if not context.reminded and turn.dialog.reminder is not None and now < context.since + turn.dialog.timeout:
        return turn.remind()
    return turn.give_up()


def paused(rules: DialogRules, context: Context, chat_key: str, until: datetime, now: datetime) -> Step:
    """A human agent talks: the bot is silent up to *until*. What the person answers meanwhile counts."""
    turn = _Turn(rules, chat_key, context, now)
    if context.paused_until is None or context.paused_until < until:
        turn.context = replace(context, paused_until=until)
    return turn.step()


def resumed(rules: DialogRules, context: Context, chat_key: str, now: datetime) -> Step:
    """The agent has done: the bot speaks again. The open question is asked again where it was not answered."""
    if context.paused_until is None:
        return _Turn(rules, chat_key, context, now).step()
    turn = _Turn(rules, chat_key, context, now)
    turn.context = replace(context, paused_until=None, since=None)
    return turn.step() if turn.dialog is None else turn.go_on()


class _Turn:
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
        if dialog is None and not context.waiting:
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
            self.context = self.context.over()
            return self.step()
        if not self.is_silent and self.context.paused_until is not None:
            self.context = replace(self.context, paused_until=None)
        missing = _missing(dialog, self.context)
        if missing is None:
            return self.step() if self._later(None) else self._complete(dialog)
        if missing.name == self.context.clarifying and self.context.since is not None:
            return self.step()
        return self.step() if self._later(missing) else self.ask(missing)

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
        field = dialog.field(self.context.clarifying) or _missing(dialog, self.context)
        if field is None:
            return self.go_on()
        return self.ask(field, "reminder", Speaker(self._rules, dialog, self._chat, self.context).reminder())

    def give_up(self) -> Step:
        """End it, as nobody answers."""
        assert self.dialog is not None
        if self.dialog.give_up.timeout == "escalate":
            return self._escalate(TIMEOUT, None, speak=False)
        self.context = self.context.over()
        return self.step()

    def begin_waiting(self) -> Step:
        """Begin the dialog that waits longest."""
        first, *others = self.context.waiting
        self.context = replace(
            self.context,
            waiting=tuple(others),
            params=dict(first.params),
            created_at=self._now,
            dialog=first.dialog,
            dialog_id=first.id,
            language=first.language,
        )
        return self.go_on()

    def _complete(self, dialog: Dialog) -> Step:
        id = self.context.dialog_id
        assert id is not None
        told = Completed(dialog.name, id, completed(dialog, self.context.params))
        ask = Speaker(self._rules, dialog, self._chat, self.context).confirmation()
        self.context = replace(self.context, number=self.context.number + 1).over()
        return self.step(ask, completed=told)

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


def _missing(dialog: Dialog, context: Context) -> DialogField | None:
    """The first field that is to be asked for; None where all is known."""
    for field in dialog.fields:
        if field.required and field.name not in context.params and _applies(field, context.params):
            return field
    return None


def _applies(field: DialogField, params: Mapping[str, str]) -> bool:
    """Whether the conditions of *field* hold: each of what was given is, or lists, one of the values."""
    told = {name: {one.strip().lower() for one in params.get(name, "").split(",")} for name in field.where}
    return all(not told[name].isdisjoint(value.lower() for value in values) for name, values in field.where.items())


def _is_tap_on_the_past(rules: DialogRules, context: Context, chat_key: str, said: Said) -> bool:
    """Whether an option of a question was tapped whose dialog is over. Chatwoot tells of a tap as a text that replies
    to the question."""
    if said.answers is None or context.question(said.answers) is not None:
        return False
    ours = any(
        said.answers == message_id(chat_key, dialog.id, number)
        for dialog in context.past
        for number in range(1, dialog.number + 1)
    )
    if not ours or said.choice:
        return ours
    titles = (text for one in rules.dialogs for field in one.fields for _, text in option_phrases(field))
    return any(same(said.text or "", title) for title in titles)
