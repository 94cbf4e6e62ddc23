"""The clarification worker: what people write is understood, and what an order lacks is asked for.

    message.received      surely answers the open question ──► the dialog goes on at once
                          else ──► kept, and understood with what comes close behind it
    message.transcribed   the text of a voice note comes to its message
    conversation.settled  what was kept is taken as one ──► an answer, an order, or a note, which is kept in silence
    dialog.due            a reminder, or the end of a dialog that nobody answers; a question that an agent held up
    conversation.changed  a human agent talks ──► the bot is silent; resolved ──► it goes on
    applicant_issue.reported ──► the dialog that asks for what is wrong

A step of a dialog is written by the version of the context that decided it: its message, its order and what it tells
are there together with the context, or none of them is. The id of a question derives from chat, dialog and number, so
whatever comes again asks nothing twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from adapters.postgres import buffered_messages, content_orders, conversations, crm_told, messages, opt_outs
from adapters.postgres.buffered_messages import Buffered, Transcript, Understood
from adapters.postgres.conversations import Asked, Clock, Seen
from adapters.postgres.crm_told import AgentReply, Told
from adapters.postgres.opt_outs import Preference
from adapters.postgres.pool import Connection
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.worker import Worker
from daemon.conversations import notices
from daemon.conversations.clarification.answering import NoWay
from daemon.conversations.clarification.buffering import settles_at
from daemon.conversations.clarification.echoes import our_own
from daemon.conversations.clarification.hearing import Hearing
from daemon.conversations.clarification.listening import seen_in, with_it, written
from daemon.conversations.clarification.turning import Turned, completed, request_of
from daemon.conversations.clarification.wiring import DIALOGS_DOMAIN, DialogDeps
from daemon.conversations.dialogs import dialog
from daemon.conversations.dialogs.issues import issue_params
from daemon.messages.requests import event_of
from schemas.conversations import chat_of
from schemas.envelope import Event
from schemas.errors import FerrymanError, Malformed
from schemas.told import is_test_contact, phone_told, time_told, told_in

SOON: Final = timedelta(seconds=1)
REPORT: Final = "applicant_issue.reported"


async def handle(event: Event, deps: DialogDeps, turn: Turn) -> Outcome:
    """Decide what an event brings about. Raises: Malformed."""
    match event.type:
        case "message.received":
            return await written(event, deps, turn)
        case "message.transcribed":
            return await _transcribed(event, deps, turn)
        case "conversation.settled":
            return await _settled(event, deps, turn)
        case "conversation.changed":
            return await _changed(event, deps, turn)
        case "dialog.due":
            return await _due(event, deps, turn)
    return await _reported(event, deps, turn)


async def _settled(event: Event, deps: DialogDeps, turn: Turn) -> Outcome:
    chat = _chat_in(event)
    known = await deps.standing(Asked(chat))
    if not known.waiting:
        return Done(skipped="understood already")
    if known.settles_at is not None and known.settles_at > turn.now:
        return Done(skipped="more has come")
    return await Hearing(event, chat, known, deps, turn).understood(known.waiting)


async def _transcribed(event: Event, deps: DialogDeps, turn: Turn) -> Outcome:
    told = event.json()
    name, text = told.get("message_key"), told.get("text")
    if not isinstance(name, str) or not name:
        raise Malformed("message_key is not text")
    row = Transcript(name, text if isinstance(text, str) and text.strip() else None, event.id, turn.now)
    chat = await deps.chat_of_message(name)
    if chat is None:
        return Done(rows=(row,))
    known = await deps.standing(Asked(chat))
    waiting = [replace(one, waits_for_text=False) if one.key == name else one for one in known.waiting]
    at = settles_at(waiting, turn.now, deps.pace) if waiting else turn.now
    return Done(rows=(row, Clock(chat, "settles_at", at)))


async def _due(event: Event, deps: DialogDeps, turn: Turn) -> Outcome:
    chat, told = _chat_in(event), event.json()
    known = await deps.standing(Asked(chat))
    if not known.there:
        return Done(skipped="no conversation")
    hearing = Hearing(event, chat, known, deps, turn)
    if (notice := notices.told_in(told)) is not None:
        if isinstance(hearing.way, NoWay):
            return Done(skipped="no way to answer")
        ask = notices.failure(deps.rules, chat, notice, known.language)
        return Done(rows=(notices.Notice(request_of(hearing.way, ask, f"notice:{notice.name}"), event),))
    step = dialog.due(deps.rules, hearing.context, chat, turn.now)
    if step.context == hearing.context:  # as where another host's clock is ahead
        at = None if step.due_at is None else max(step.due_at, turn.now + SOON)
        return Done(rows=(Clock(chat, "due_at", at),), skipped="not due")
    return Done(rows=(hearing.turned(step),))


async def _changed(event: Event, deps: DialogDeps, turn: Turn) -> Outcome:
    told = told_in(event)
    if is_test_contact(told.get("contact_id")):
        return Done(skipped="test contact")
    chat = chat_of({**told, "contact_id": told.get("contact_id") or ""})
    known = with_it(await deps.standing(Asked(chat.key)), seen_in(event, told, chat, None))
    what, status, assigned = told.get("what"), told.get("status"), told.get("assignee")
    at = time_told(told, event.time)
    spoke = what == "agent_replied"
    if spoke and (ours := await our_own(event, told, deps, turn)) is not None:
        return ours
    # what comes late, or is replayed, tells of what was before the agent's last word, or before it was handed over
    stale = (known.agent_at is not None and at < known.agent_at) or (
        known.escalated_at is not None and event.time < known.escalated_at
    )
    resolved = status == "resolved" and not spoke and not stale
    is_news = spoke and (known.agent_at is None or at > known.agent_at)
    rows: list[Row] = [
        seen_in(event, told, chat, None),
        Told(
            chat.key,
            status if isinstance(status, str) else None,
            assigned if isinstance(assigned, bool) else None,
            at if spoke else None,
            resolved,
            _labels_in(told),
            None if told.get("at") is None else at,
        ),
    ]
    if spoke:
        rows.append(AgentReply(event.id, chat.key, at))
    hearing = Hearing(event, chat.key, known, deps, turn)
    until = at + deps.pause
    if is_news and until > turn.now:
        step = dialog.paused(deps.rules, hearing.context, chat.key, until, turn.now)
    elif resolved:
        step = dialog.resumed(deps.rules, hearing.context, chat.key, turn.now)
    else:
        return Done(rows=tuple(rows))
    if step.context != hearing.context:
        rows.append(hearing.turned(step))
    return Done(rows=tuple(rows))


def _labels_in(told: Mapping[str, Any]) -> Sequence[str] | None:
    found = told.get("labels")
    return None if not isinstance(found, list) else [one for one in found if isinstance(one, str) and "\0" not in one]


async def _reported(event: Event, deps: DialogDeps, turn: Turn) -> Outcome:
    begins = deps.rules.begun_by(event=REPORT)
    if begins is None:
        return Done(skipped="no dialog")
    told = event.json()
    phone = phone_told(told)
    chat = None if phone is None else await deps.chat_of_line(phone.line)
    if phone is None or chat is None:
        return Done(skipped="no conversation")
    known = await deps.standing(Asked(chat))
    hearing = Hearing(event, chat, known, deps, turn)
    if isinstance(hearing.way, NoWay):
        return Done(skipped="no way to answer")
    language = known.language or await deps.language_of(phone.e164)
    step = hearing.begun(begins.name, issue_params(told), language, event.id)
    if not step.used or step.context == hearing.context:
        return Done(skipped="no dialog")
    return Done(rows=(hearing.turned(step),))


def _chat_in(event: Event) -> str:
    chat = event.json().get("chat")
    if not isinstance(chat, str) or not chat:
        raise Malformed("chat is not text")
    return chat


def buried(event: Event, error: FerrymanError, turn: Turn) -> Sequence[Row]:
    """The person whose message cannot be worked on is told so, once a day."""
    rows = notices.rows_of(event, WORKER.name, turn.now)
    if not rows or event.type != "message.received":
        return rows
    told = event.json()
    return (seen_in(event, told, chat_of(told), None), *rows)


async def record(conn: Connection, rows: Sequence[Row]) -> Sequence[Event]:
    """Write what events bring about; returns the messages that are to be sent, and what tells of complete orders.
    Conversations are locked first, in the order of their names."""
    turns = [row for row in rows if isinstance(row, Turned)]
    seen = [row for row in rows if isinstance(row, Seen)]
    clocks = [row for row in rows if isinstance(row, Clock)]
    chats = {row.chat.key for row in seen} | {row.context.chat for row in turns} | {row.chat for row in clocks}
    await conversations.lock(conn, sorted(chats))
    await conversations.see(conn, seen)
    await crm_told.tell(conn, [row for row in rows if isinstance(row, Told)])
    await crm_told.reply(conn, [row for row in rows if isinstance(row, AgentReply)])
    await buffered_messages.keep(conn, [row for row in rows if isinstance(row, Buffered)])
    await buffered_messages.transcribe(conn, [row for row in rows if isinstance(row, Transcript)])
    await conversations.wind(conn, clocks)
    emitted = await _turn(conn, turns)
    await buffered_messages.understand(conn, [row for row in rows if isinstance(row, Understood)])
    await opt_outs.keep(conn, [row for row in rows if isinstance(row, Preference)])
    return [*emitted, *await notices.record(conn, rows)]


async def _turn(conn: Connection, turns: Sequence[Turned]) -> Sequence[Event]:
    """Write steps; returns what they emit. Of several in one chat the first counts, as all were decided by one
    context."""
    first = {row.context.chat: row for row in reversed(turns)}
    changed = await conversations.turn(conn, [row.context for row in first.values()])
    counting = [row for chat, row in first.items() if chat in changed]
    late = [row for row in turns if all(row is not one for one in counting)]
    await conversations.look_again(conn, [(row.context.chat, row.at) for row in late])
    new = await messages.request_once(conn, [request for row in counting for request in row.requests])
    await buffered_messages.understand(conn, [one for row in counting for one in row.understood])
    return [event for row in counting for event in await _emitted(conn, row, new)]


async def _emitted(conn: Connection, row: Turned, new: Collection[UUID]) -> Sequence[Event]:
    """What one step emits, of whose messages the *new* ones are to be sent. Writes its order."""
    events = list(row.events)
    if row.order is not None and (kept := await content_orders.keep(conn, row.order)) is not None:
        events.append(completed(row, row.order, kept.user_id))
    asked = [event_of(request, row.at) for request in row.requests if request.id in new]
    return [*events, *(_caused(row.cause, event) for event in asked)]


def _caused(cause: Event, event: Event) -> Event:
    return event._replace(causationid=cause.id, traceparent=cause.traceparent)


WORKER: Final[Worker[DialogDeps]] = Worker(
    name="clarification",
    reads=("messages", "conversations"),
    types=frozenset(
        {
            "message.received",
            "message.transcribed",
            "conversation.settled",
            "conversation.changed",
            "dialog.due",
            REPORT,
        }
    ),
    begins="now",
    domain=DIALOGS_DOMAIN,
    handle=handle,
    record=record,
    buried=buried,
)
