"""How what a person says comes to their dialog: at once where it surely answers the open question, else together with
what they write beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from adapters.postgres.buffered_messages import Buffered, Understood
from adapters.postgres.conversations import Clock, Standing
from daemon.bus.outcome import Done, Row, Turn
from daemon.conversations.clarification import buffering
from daemon.conversations.clarification.answering import NoWay
from daemon.conversations.clarification.buffering import as_one
from daemon.conversations.clarification.turning import Turned, contact_of, escalated, turned
from daemon.conversations.clarification.wiring import DialogDeps
from daemon.conversations.dialogs import dialog
from daemon.conversations.dialogs.context import Context
from daemon.conversations.dialogs.steps import Said, Step
from schemas.conversations import CHATWOOT
from schemas.envelope import Event
from schemas.phone import line
from schemas.understanding import Intent

UNSENT: Final = frozenset({"skipped", "failed", "canceled"})
"""A question that stands so has not reached its person."""

NO_WAY: Final = "no way to answer"
ANSWER: Final = "an answer"
TWIN: Final = "came by another system as well"


class Hearing:
    """The handling of one event that concerns the dialog of *chat*, which stands as *known*."""

    def __init__(self, event: Event, chat: str, known: Standing, deps: DialogDeps, turn: Turn) -> None:
        self.event, self.chat, self.known, self.deps, self.now = event, chat, known, deps, turn.now
        self.context = Context.from_json(known.context)
        self.way = deps.way(chat, known)

    def turned(
        self,
        step: Step,
        *,
        origin: Mapping[str, Any] | None = None,
        language: str | None = None,
        understood: Sequence[Understood] = (),
    ) -> Turned:
        """The rows of *step*; the rest as of `turning.turned`."""
        self.deps.count(self.context, step)
        if step.escalated and not step.completed:  # an agent's turn: what is asked next waits as while one talks
            silent = dialog.paused(self.deps.rules, step.context, self.chat, self.now + self.deps.pause, self.now)
            step = replace(step, context=silent.context, due_at=silent.due_at)
        return turned(
            self.event,
            self.chat,
            self.known,
            step,
            self.way,
            self.now,
            origin=origin,
            language=language,
            understood=understood,
        )

    def note(self, keys: Sequence[str], reason: str) -> Understood:
        """What was said is nothing to be acted on by itself."""
        return Understood(tuple(keys), self.now, "NOTE", 1.0, reason)

    def surely_answers(self, message: Buffered) -> bool:
        """Whether *message* is an answer that needs no waiting for more."""
        said = said_of(as_one([message]))
        return self.context.is_open and dialog.matches_open_question(self.deps.rules, self.context, said)

    def at_once(self, message: Buffered) -> tuple[Row, ...]:
        """The rows of an answer. What was written before it and is not understood yet was said beside it."""
        step = dialog.heard(self.deps.rules, self.context, self.chat, said_of(as_one([message])), self.now)
        beside = [one.key for one in self.known.waiting]
        notes = [self.note([message.key], ANSWER)]
        if not beside:
            return (self.turned(step, understood=notes),)
        notes.append(self.note(beside, "written beside an answer"))
        return (self.turned(step, understood=notes), Clock(self.chat, "settles_at", None))

    async def understood(self, waiting: Sequence[Buffered]) -> Done:
        """What these messages bring about, taken as one; there is at least one of them."""
        twins = [] if self.context.is_open else await self._twins(waiting)
        own = [one for one in waiting if one.key not in twins]
        gone = (self.note(twins, TWIN),) if twins else ()
        if not own:
            return Done(rows=gone, skipped=TWIN)
        one = as_one(own)
        intent = await self._asks_for_another(one)
        if self.context.is_open and intent is None:
            step = await self._continued(one)
            if step.used:
                return Done(rows=(*gone, self.turned(step, understood=[self.note(one.keys, "part of a dialog")])))
        return Done(rows=(*gone, *await self._classified(one, intent)))

    async def _asks_for_another(self, one: buffering.Said) -> Intent | None:
        """What is wanted, where that begins another dialog than the open one, which this does not surely answer: it is
        no wrong answer."""
        begins = self.deps.rules.begun_by(intent="ORDER")
        if not self.context.is_open or one.text is None or begins is None or begins.name == self.context.dialog:
            return None
        if dialog.matches_open_question(self.deps.rules, self.context, said_of(one)):
            return None
        intent = await self.deps.classify(one.text, self.known.language)
        return intent if intent.kind == "ORDER" else None

    async def _twins(self, waiting: Sequence[Buffered]) -> list[str]:
        """Those that two systems tell of, which hear of the same number, and that begin their dialog in the other one's
        conversation: in Chatwoot's, or where they were understood already."""
        mine = None if self.known.phone is None else line(self.known.phone)
        twins = await self.deps.twins(waiting, mine, TWIN)
        return [one.key for one in waiting if one.key in twins]

    async def _continued(self, one: buffering.Said) -> Step:
        """What is said while a dialog is open. A question that has not reached its person is asked again, as they have
        written now, unless this answers it all the same."""
        said, rules, context = said_of(one), self.deps.rules, self.context
        lost = (
            context.paused_until is None
            and context.clarifying is not None
            and bool(context.asked)
            and await self.deps.status(context.asked[-1].id) in UNSENT
        )
        if lost and not dialog.matches_open_question(rules, context, said):
            return dialog.resumed(rules, replace(context, paused_until=self.now), self.chat, self.now)
        return dialog.heard(rules, context, self.chat, said, self.now)

    async def _classified(self, one: buffering.Said, intent: Intent | None) -> tuple[Row, ...]:
        """The rows of what is no answer: an order begins its dialog, a note is kept in silence. *intent*: where it is
        known already."""
        if one.text is None:
            return (self.note(one.keys, "no text"),)
        intent = intent or await self.deps.classify(one.text, self.known.language)
        note = Understood(one.keys, self.now, intent.kind, intent.confidence, intent.reason)
        begins = self.deps.rules.begun_by(intent=intent.kind)
        if begins is None:
            return (note,)
        if isinstance(self.way, NoWay):
            return (note,) if self.known.escalated_at is not None else (self._handed_on(self.way, note),)
        said = {**dialog.params_in(self.deps.rules, begins.name, one.text), **intent.params}
        step = self.begun(begins.name, said, intent.language, one.first.key)
        if not step.used or step.context == self.context:
            return (note,)
        row = self.turned(step, origin=self._origin(one, intent), language=intent.language, understood=[note])
        return (row,)

    def begun(self, name: str, params: Mapping[str, str], language: str | None, cause: str) -> Step:
        """The step that begins a dialog because of *cause*, the name of a message or the id of an event."""
        account = self.known.chatwoot_account_id
        return dialog.begin(
            self.deps.rules,
            name,
            self.chat,
            params,
            self.context,
            language,
            self.now,
            message_key=cause,
            sender_id=contact_of(self.known),
            account_id=None if account is None else str(account),
        )

    def _handed_on(self, no_way: NoWay, note: Understood) -> Turned:
        """The person wants something and cannot be answered: a person is to look."""
        row = self.turned(Step(self.context, due_at=self.known.due_at), understood=[note])
        event = escalated(self.event, self.chat, self.known, NO_WAY, no_way.why, (), self.now)
        return replace(row, context=replace(row.context, escalated_why=no_way.why), events=(event,))

    def _origin(self, one: buffering.Said, intent: Intent) -> Mapping[str, Any]:
        """Where an order comes from, for its row."""
        system, _, id = one.first.key.partition(":")
        return {
            "original_content": one.text,
            "chatwoot_message_id": id if system == CHATWOOT else None,
            "message_key": one.first.key,
            "contact_id": contact_of(self.known),
            "sender_name": self.known.name,
            "created_at": one.first.at.isoformat(),
            "params": dict(intent.params),
        }


def said_of(one: buffering.Said) -> Said:
    """Messages as the dialog hears them."""
    return Said(text=one.text, choice=one.choice, answers=one.answers, kind=one.kind, at=one.at, message_key=one.key)
