"""What the worker of dialogs needs of the outside, what it does by the clock, and what it counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

import orjson

from adapters.postgres import buffered_messages, conversations, dialogs, messages
from adapters.postgres.bus import outbox
from adapters.postgres.conversations import Asked, Due, Standing
from adapters.postgres.dialogs import Place, Word
from daemon.bus.batcher import Batcher
from daemon.bus.metrics import OF_ALL
from daemon.bus.worker import Domain, Duty, Outside
from daemon.conversations.clarification.accounts import account_of
from daemon.conversations.clarification.answering import NoWay, Way, Whom, number_in, way_to
from daemon.conversations.clarification.buffering import Pace
from daemon.conversations.dialogs.context import Context
from daemon.conversations.dialogs.rules import DIALOGS, DialogRules
from daemon.conversations.dialogs.steps import Step
from daemon.conversations.understanding.intent_rules import INTENTS
from daemon.conversations.understanding.wiring import open_classifier
from daemon.telemetry.declared import Declared
from schemas.envelope import Event, event_id
from schemas.phone import aliases
from schemas.understanding import Intent

if TYPE_CHECKING:
    from datetime import datetime

    from adapters.postgres.buffered_messages import Buffered
    from adapters.postgres.pool import Connection
    from daemon.settings.model import Settings

EVERY_S: Final = 0.5
MOST: Final = 500
"""Conversations that one round takes."""

NOTE_EVERY_S: Final = 5.0
MEASURE_EVERY_S: Final = 10.0
FORGET_EVERY_S: Final = 600.0

OUTCOMES: Final = ("begun", "completed", "escalated", "ended")

METRICS: Final = (
    Declared(
        "ferryman_dialogs_total",
        "counter",
        "Dialogs that have begun, were completed, were handed to a person, or ended as canceled or unanswered.",
        ("outcome",),
        values={"outcome": OUTCOMES},
    ),
    Declared("ferryman_messages_buffered", "gauge", f"Messages of people that are not understood yet. {OF_ALL}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogDeps:
    """The outside as the handler sees it. *pace*: how long is waited for more; *pause*: how long the bot is silent
    after an agent's word; *keeps*: how long it is known that a message has come. *standing*: answers how a conversation
    stands; *status*: how a message of ours does. *twins*, *chat_of_line*, *chat_of_message*, *dialog_of*, *word*,
    *language_of*: as `adapters.postgres` has them. *classify*: what a text is; its language is a guess. *way*: how the
    person of a chat is answered. *count*: counts what a step does."""

    rules: DialogRules
    pace: Pace
    pause: timedelta
    keeps: timedelta
    standing: Callable[[Asked], Awaitable[Standing]]
    status: Callable[[UUID], Awaitable[str | None]]
    twins: Callable[[Sequence[Buffered], str | None, str], Awaitable[set[str]]]
    chat_of_line: Callable[[str], Awaitable[str | None]]
    chat_of_message: Callable[[str], Awaitable[str | None]]
    dialog_of: Callable[[Place], Awaitable[str | None]]
    word: Callable[[str, str], Awaitable[Word]]
    language_of: Callable[[str], Awaitable[str | None]]
    classify: Callable[[str, str | None], Awaitable[Intent]]
    way: Callable[[str, Standing], Way | NoWay]
    count: Callable[[Context, Step], None]


@asynccontextmanager
async def _opened(outside: Outside) -> AsyncIterator[DialogDeps]:
    pool, settings = outside.pool, outside.settings
    standings: Batcher[Asked, Standing] = Batcher(partial(conversations.standing, pool))
    statuses: Batcher[UUID, str | None] = Batcher(partial(messages.statuses, pool))

    async def language_of(phone: str) -> str | None:
        return await conversations.language_of(pool, list(aliases(phone)))

    async with open_classifier(outside) as classify:
        yield DialogDeps(
            rules=outside.rules(DIALOGS),
            pace=pace_of(settings),
            pause=timedelta(minutes=settings.ferryman_bot_pause_minutes),
            keeps=timedelta(days=settings.ferryman_inbox_days),
            standing=standings.submit,
            status=statuses.submit,
            twins=partial(buffered_messages.twins, pool),
            chat_of_line=partial(conversations.of_line, pool),
            chat_of_message=partial(buffered_messages.chat_of, pool),
            dialog_of=partial(dialogs.dialog_of, pool),
            word=partial(dialogs.word, pool),
            language_of=language_of,
            classify=classify,
            way=partial(way_of, outside),
            count=partial(_count, outside),
        )


def pace_of(settings: Settings) -> Pace:
    """How long is waited for what a person may write next."""
    after, within = settings.ferryman_understand_after_seconds, settings.ferryman_understand_within_seconds
    return Pace(timedelta(seconds=after), timedelta(seconds=within))


def way_of(outside: Outside, chat: str, known: Standing) -> Way | NoWay:
    """How the person of *chat* is answered."""
    whom = Whom(
        known.system,
        known.phone,
        known.channel,
        number_in(chat) if known.chatwoot_conversation_id is None else None,
        known.chatwoot_account_id,
        known.inbox_id,
        known.chatwoot_conversation_id,
    )
    return way_to(whom, partial(account_of, outside), outside.settings.messages_default_provider)


def _count(outside: Outside, before: Context, step: Step) -> None:
    after = step.context
    begun = after.is_open and after.dialog_id != before.dialog_id
    over = before.is_open and after.dialog_id != before.dialog_id
    if begun or (step.completed is not None and not before.is_open):
        outside.metrics.inc("ferryman_dialogs_total", {"outcome": "begun"})
    if step.completed is not None or step.escalated is not None or over:
        outcome = "completed" if step.completed else "escalated" if step.escalated else "ended"
        outside.metrics.inc("ferryman_dialogs_total", {"outcome": outcome})


def _duties(outside: Outside, deps: DialogDeps) -> Sequence[Duty]:
    settle = partial(emit_due, outside, conversations.take_settled, settled)
    look = partial(emit_due, outside, conversations.take_due, dialog_due)

    async def note() -> None:
        while await buffered_messages.note(outside.pool, MOST) == MOST:
            pass

    async def measure() -> None:
        outside.metrics.set("ferryman_messages_buffered", await buffered_messages.waiting(outside.pool))

    async def forget() -> None:
        while await buffered_messages.forget(outside.pool, deps.keeps.days, MOST) == MOST:
            pass

    return (
        Duty("settled-conversations", settle, EVERY_S),
        Duty("due-dialogs", look, EVERY_S),
        Duty("notes-intents", note, NOTE_EVERY_S),
        Duty("buffered-messages", measure, MEASURE_EVERY_S),
        Duty("forgotten-messages", forget, FORGET_EVERY_S),
    )


async def emit_due(
    outside: Outside,
    take: Callable[[Connection, datetime, int], Awaitable[list[Due]]],
    event_of: Callable[[Due, datetime], Event],
) -> None:
    """Hand the conversations whose time has come to their worker, each once."""
    now = outside.now()
    async with outside.pool.acquire() as conn, conn.transaction():
        due = [event_of(one, now) for one in await take(conn, now, MOST)]
        seqs = await outbox.emit(conn, due) if due else []
    if due:
        await outside.hurry(due, seqs)


def settled(due: Due, now: datetime) -> Event:
    """The event by which what was written in a conversation is understood."""
    return _of_clock("conversation.settled", due, now, {"chat": due.chat})


def dialog_due(due: Due, now: datetime) -> Event:
    """The event by which a dialog is looked at."""
    return _of_clock("dialog.due", due, now, {"chat": due.chat, "version": due.version})


def _of_clock(type: str, due: Due, now: datetime, data: dict[str, object]) -> Event:
    return Event(
        id=event_id("ferryman", type, due.chat, str(due.version), now.isoformat()),  # it is taken once at a time
        type=type,
        source="ferryman",
        subject=due.subject,
        time=now,
        data=orjson.dumps(data),
    )


DIALOGS_DOMAIN: Final[Domain[DialogDeps]] = Domain(
    name="dialogs", opened=_opened, metrics=METRICS, duties=_duties, rules=(DIALOGS, INTENTS)
)
