"""A dialog: it asks for what is missing, one question at a time, until all is known. Values in, values out.

A pure state machine: the rules, the context of the conversation and the clock are given; what is to be sent, kept and
told comes back as a `Step`. The same step made again gives messages with the same ids, so that each is sent once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from daemon.conversations.dialogs.asking import dialog_id, message_id
from daemon.conversations.dialogs.context import Context, Waiting
from daemon.conversations.dialogs.lexicon import option_phrases
from daemon.conversations.dialogs.matching import same
from daemon.conversations.dialogs.reading import params_in as read_params
from daemon.conversations.dialogs.reading import read
from daemon.conversations.dialogs.rules import DialogRules
from daemon.conversations.dialogs.steps import Ask, Completed, Escalated, Said, Step
from daemon.conversations.dialogs.turn import Turn, asks_for
from daemon.conversations.dialogs.values import accepted

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
    "params_in",
    "paused",
    "resumed",
]

MOST_NUMBERS: Final = 200
"""So many messages of a past dialog are known again."""


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
    same dialog is open, about the same, *params* are taken as further answers to it. While another one is open, this
    one waits until that is over. Where the bot is silent, the first question is asked later, by `due`. A dialog that
    the rules do not have, that is off, or that has nothing to ask for, is not begun: the step is not *used*.
    """
    dialog, turn = rules.dialog(dialog_name), Turn(rules, chat_key, context, now)
    if dialog is None or not dialog.enabled:
        return turn.step(used=False)
    id, known = dialog_id(chat_key, message_key), accepted(dialog, params)
    past = [context.dialog_id, *(one.id for one in context.past), *(one.id for one in context.waiting)]
    if id in past or message_key in context.handled:
        return turn.step()
    told = Waiting(dialog_name, id, tuple(known.items()), language)
    if turn.dialog is not None:
        return turn.add(told, message_key)
    if not asks_for(dialog, known):
        return turn.step(used=False)
    turn.open(told, sender_id, account_id)
    return turn.go_on()


def params_in(rules: DialogRules, dialog_name: str, text: str) -> dict[str, str]:
    """The params that a message says which begins a dialog, in any language of the rules."""
    dialog = rules.dialog(dialog_name)
    return {} if dialog is None else read_params(rules, dialog, text)


def heard(rules: DialogRules, context: Context, chat_key: str, said: Said, now: datetime) -> Step:
    """The person has written: an answer, a correction, a wish to cancel or to begin anew, a late tap; or something that
    is no answer (*used* is False then, and nothing changes). The same message heard again changes nothing."""
    turn = Turn(rules, chat_key, context, now)
    if said.message_key in context.handled:
        return turn.step()
    if _is_tap_on_the_past(rules, context, chat_key, said):
        turn.context = context.heard(said.message_key)
        return turn.step()
    dialog = rules.dialog(context.dialog)
    if dialog is None:
        return turn.step(used=False)
    reading = read(rules, dialog, context, said)
    if not reading.used or (turn.is_silent and not reading.sure):
        return turn.step(used=False)
    turn.wake(said.message_key)
    if reading.control == "cancel":
        return turn.cancel()
    if reading.control == "restart":
        return turn.restart()
    if reading.again is not None:
        return turn.again(reading.again)
    if reading.wrong:
        return turn.wrong(said)
    return turn.answer(reading.values)


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
    turn = Turn(rules, chat_key, context, now)
    at = turn.due_at
    if at is None or now < at:
        return turn.step()
    if context.paused_until is not None:
        return resumed(rules, context, chat_key, now)
    if turn.dialog is None:
        return turn.go_on() if context.is_open else turn.begin_waiting()
    if context.since is None:
        return turn.go_on()
    if not context.reminded and turn.dialog.reminder is not None and now < context.since + turn.dialog.timeout:
        return turn.remind()
    return turn.give_up()


def paused(rules: DialogRules, context: Context, chat_key: str, until: datetime, now: datetime) -> Step:
    """A human agent talks: the bot is silent up to *until*. What the person answers meanwhile counts."""
    turn = Turn(rules, chat_key, context, now)
    if context.paused_until is None or context.paused_until < until:
        turn.context = replace(context, paused_until=until)
    return turn.step()


def resumed(rules: DialogRules, context: Context, chat_key: str, now: datetime) -> Step:
    """The agent has done: the bot speaks again. The open question is asked again where it was not answered."""
    if context.paused_until is None:
        return Turn(rules, chat_key, context, now).step()
    turn = Turn(rules, chat_key, context, now)
    turn.context = replace(context, paused_until=None, since=None)
    return turn.go_on() if context.is_open else turn.step()


def _is_tap_on_the_past(rules: DialogRules, context: Context, chat_key: str, said: Said) -> bool:
    """Whether an option of a question was tapped whose dialog is over. Chatwoot tells of a tap as a text that replies
    to the question."""
    if said.answers is None or context.question(said.answers) is not None:
        return False
    ours = any(
        said.answers == message_id(chat_key, dialog.id, number)
        for dialog in context.past
        for number in range(max(1, dialog.number - MOST_NUMBERS), dialog.number + 1)
    )
    if not ours or said.choice:
        return ours
    titles = (text for one in rules.dialogs for field in one.fields for _, text in option_phrases(field))
    return any(same(said.text or "", title) for title in titles)
