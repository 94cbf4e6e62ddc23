"""How what a person says comes to their dialog: at once where it surely answers the open question, else together with
what they write beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from adapters.postgres.buffered_messages import Buffered, Understood
from adapters.postgres.conversations import Clock, Standing
from daemon.bus.outcome import Done, Row, Turn
from daemon.conversations import buffering, dialog
from daemon.conversations.answering import NoWay, Way
from daemon.conversations.buffering import as_one
from daemon.conversations.dialog_context import Context
from daemon.conversations.dialog_steps import Said, Step
from daemon.conversations.dialog_wiring import DialogDeps
from daemon.conversations.intents import Intent
from daemon.conversations.turning import Turned, escalated, turned
from schemas.envelope import Event

UNSENT = frozenset({"skipped", "failed", "canceled"})
"""A question that stands so has not reached its person."""


class Heard:
    """One event that brings something to a dialog: what all steps of its handling need."""

    def __init__(self, event: Event, chat: str, known: Standing, deps: DialogDeps, turn: Turn) -> None:
        self.event, self.chat, self.known, self.deps, self.now = event, chat, known, deps, turn.now
        self.context = Context.from_json(known.context)
        self.way: Way | NoWay = deps.way(chat, known)

    def turned(self, step: Step, **further: Any) -> Turned:
        """The rows of *step*."""
        self.deps.count(self.context, step)
        return turned(self.event, self.chat, self.known, step, self.way, self.now, **further)


def said_of(one: buffering.Said) -> Said:
    """Messages as the dialog hears them."""
    return Said(
        text=one.text, choice=one.choice, answers=one.answers, kind=one.kind, at=one.at, message_key=one.key
    )


def surely_answers(heard: Heard, message: Buffered) -> bool:
    """Whether *message* is an answer that needs no waiting for more."""
    said = said_of(as_one([message]))
    return heard.context.is_open and dialog.matches_open_question(heard.deps.rules, heard.context, said)


def at_once(heard: Heard, message: Buffered) -> tuple[Row, ...]:
    """The rows of an answer. What was written before it and is not understood yet was said beside it."""
    said = said_of(as_one([message]))
    step = dialog.heard(heard.deps.rules, heard.context, heard.chat, said, heard.now)
    answer = Understood([message.key], heard.now, "NOTE", 1.0, "an answer")
    beside = [one.key for one in heard.known.waiting]
    notes = [Understood(beside, heard.now, "NOTE", 1.0, "written beside an answer")] if beside else []
    clock = [Clock(heard.chat, "settles_at", None)] if beside else []
    return (heard.turned(step, understood=[answer, *notes]), *clock)


async def understood(heard: Heard, waiting: Sequence[Buffered]) -> Done:
    """What these messages bring about, taken as one; there is at least one of them."""
    own, told_elsewhere = await _without_twins(heard, waiting)
    if not own:
        return Done(rows=told_elsewhere, skipped="came by Chatwoot")
    one = as_one(own)
    if heard.context.is_open:
        step = await _continued(heard, one)
        if step.used:
            note = Understood(one.keys, heard.now, "NOTE", 1.0, "part of a dialog")
            return Done(rows=(*told_elsewhere, heard.turned(step, understood=[note])))
        heard.context = step.context
    intent = await _intent(heard, one)
    note = Understood(one.keys, heard.now, intent.kind, intent.confidence, intent.reason)
    return Done(rows=(*told_elsewhere, *_begun(heard, one, intent, note)))


async def _without_twins(heard: Heard, waiting: Sequence[Buffered]) -> tuple[Sequence[Buffered], tuple[Row, ...]]:
    """Without messages that have come by Chatwoot as well, which stands before the same number."""
    ids = [one.source_id for one in waiting if one.source_id is not None]
    twins = await heard.deps.twins(ids, heard.chat) if ids and heard.known.system != "chatwoot" else set()
    gone = [one.key for one in waiting if one.source_id in twins]
    rows = (Understood(gone, heard.now, "NOTE", 1.0, "came by Chatwoot as well"),) if gone else ()
    return [one for one in waiting if one.key not in gone], rows


async def _continued(heard: Heard, one: buffering.Said) -> Step:
    """What is said while a dialog is open. A question that has not reached its person is asked again, as they have
    written now, unless they answer it all the same."""
    said, rules, context = said_of(one), heard.deps.rules, heard.context
    if context.clarifying is not None and context.asked and not heard.deps.talks(heard.known, heard.now):
        lost = await heard.deps.status(context.asked[-1].id) in UNSENT
        if lost and not dialog.matches_open_question(rules, context, said):
            return dialog.resumed(rules, context, heard.chat, heard.now)
    if heard.deps.talks(heard.known, heard.now) and not dialog.matches_open_question(rules, context, said):
        return Step(context, used=False, due_at=heard.known.due_at)
    return dialog.heard(rules, context, heard.chat, said, heard.now)


async def _intent(heard: Heard, one: buffering.Said) -> Intent:
    if one.text is None:
        return Intent("NOTE", 1.0, "no text", {}, heard.known.language or "en")
    return await heard.deps.classify(one.text, heard.known.language)


def _begun(heard: Heard, one: buffering.Said, intent: Intent, note: Understood) -> tuple[Row, ...]:
    """The rows of what is no answer: an order begins its dialog, unless a person is talking with them."""
    begins = heard.deps.rules.begun_by(intent=intent.kind) if intent.kind == "ORDER" else None
    known, now = heard.known, heard.now
    if begins is None or heard.deps.talks(known, now):
        return (_noted(heard, note),)
    if isinstance(heard.way, NoWay):
        return (_noted(heard, note, heard.way),)
    context = replace(heard.context, sender_id=known.contact_ref)
    step = dialog.begin(
        heard.deps.rules, begins.name, heard.chat, intent.params, context, intent.language, now
    )
    return (heard.turned(step, origin=_origin(known, one, intent), language=intent.language, understood=[note]),)


def _noted(heard: Heard, note: Understood, why: NoWay | None = None) -> Row:
    """Nothing is said. *why*: the person cannot be answered, so a person is to look, once."""
    if why is None or heard.known.escalated_at is not None:
        return note if heard.context == Context.from_json(heard.known.context) else heard.turned(
            Step(heard.context, due_at=heard.known.due_at), understood=[note]
        )
    step = Step(heard.context, due_at=heard.known.due_at)
    event = escalated(heard.event, heard.chat, heard.known, "no way to answer", why.why, (), heard.now)
    row = heard.turned(step, understood=[note])
    return replace(row, context=replace(row.context, escalated_why=why.why), events=(event,))


def _origin(known: Standing, one: buffering.Said, intent: Intent) -> Mapping[str, Any]:
    """Where an order comes from, for its row."""
    system, _, id = one.first.key.partition(":")
    return {
        "original_content": one.text,
        "chatwoot_message_id": id if system == "chatwoot" else None,
        "message_key": one.first.key,
        "contact_id": (known.contact_ref or "").rpartition(":")[2] or None,
        "sender_name": known.name,
        "created_at": one.first.at.isoformat(),
        "params": dict(intent.params),
    }


def talking(known: Standing, now: datetime, pause_s: float) -> bool:
    """Whether a human agent is talking with the person, or is to: they have written within the last *pause_s* seconds,
    or the conversation was handed to them. One that is assigned and silent does not count: Chatwoot assigns by
    itself."""
    times = [at for at in (known.agent_at, known.escalated_at) if at is not None]
    return bool(times) and (now - max(times)).total_seconds() < pause_s
