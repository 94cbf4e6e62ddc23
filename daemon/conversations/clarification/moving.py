"""A dialog goes with its person. Who writes after their conversation was resolved gets another one in Chatwoot, and
sees one chat in WhatsApp all the same: an answer that comes to the new conversation is an answer, and what is asked
next belongs there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.conversations import Asked, Seen, Standing
from adapters.postgres.dialogs import Place
from daemon.bus.outcome import Row
from daemon.conversations.clarification.hearing import Hearing
from daemon.conversations.clarification.turning import Turned, turned
from daemon.conversations.clarification.wiring import DialogDeps
from daemon.conversations.dialogs.context import Context
from daemon.conversations.dialogs.steps import Step
from schemas.envelope import Event

_PAUSED: Final = "pausedUntil"


class Moved(NamedTuple):
    """A dialog has moved. *known*: how the conversation stands that it has come to. *left*: what becomes of the one
    that it was in."""

    known: Standing
    left: Turned


async def moved_to(event: Event, seen: Seen, known: Standing, deps: DialogDeps, now: datetime) -> Moved | None:
    """The open dialog of the person of *seen* that is in another conversation of the same inbox, where there is none in
    theirs; None: there is none such. *known*: how theirs stands."""
    chat = seen.chat
    if Context.from_json(known.context).is_open or seen.line is None or chat.account is None or chat.inbox is None:
        return None
    other = await deps.dialog_of(Place(seen.line, chat.account, chat.inbox))
    if other is None or other == chat.key:
        return None
    before = await deps.standing(Asked(other))
    context = Context.from_json(before.context)
    if not context.is_open:
        return None
    silent = {_PAUSED: known.context[_PAUSED]} if _PAUSED in known.context else {}
    due = min((at for at in (before.due_at, known.due_at) if at is not None), default=None)
    document = {**before.context, **silent}
    there = replace(known, context=document, language=known.language or before.language, due_at=due)
    left, way = replace(context.over(), waiting=()), deps.way(other, before)
    return Moved(there, turned(event, other, before, Step(left), way, now))


def with_dialog(rows: Sequence[Row], moved: Moved, hearing: Hearing) -> tuple[Row, ...]:
    """*rows* of a message that was heard with the dialog that has moved, and those of the move."""
    steps = any(isinstance(row, Turned) and row.context.chat == hearing.chat for row in rows)
    kept = () if steps else (hearing.turned(Step(hearing.context, due_at=hearing.known.due_at)),)
    return (*rows, *kept, moved.left)
