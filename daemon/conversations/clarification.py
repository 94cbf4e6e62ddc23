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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from adapters.postgres import buffered_messages, content_orders, conversations, messages, opt_outs
from adapters.postgres.buffered_messages import Buffered, Understood
from adapters.postgres.conversations import Asked, Clock, Seen, Told
from adapters.postgres.opt_outs import Preference
from adapters.postgres.pool import Connection
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.worker import Worker
from daemon.conversations import dialog, notices
from daemon.conversations.answering import NoWay
from daemon.conversations.buffering import SILENT, message_of, settles_at
from daemon.conversations.dialog_rules import DIALOGS, why_idle
from daemon.conversations.dialog_steps import Step
from daemon.conversations.dialog_wiring import DIALOGS_DOMAIN, DialogDeps
from daemon.conversations.hearing import Hearing
from daemon.conversations.turning import Turned, completed, request_of
from daemon.messages.preferences import wants
from daemon.messages.requests import event_of
from schemas.conversations import CHATWOOT, Chat, chat_of
from schemas.envelope import Event
from schemas.errors import FerrymanError, Malformed
from schemas.identity import key
from schemas.phone import Phone
from schemas.told import WHATSAPP, is_test_contact, phone_told, time_told, told_in

TICK: Final = timedelta(milliseconds=1)
REPORT: Final = "applicant_issue.reported"


@dataclass(frozen=True, slots=True, repr=False)
class Transcript:
    """The text of a voice note, as the event *event_id* tells it; None: it has none."""

    key: str
    text: str | None
    event_id: str
    at: datetime


async def handle(event: Event, deps: DialogDeps, turn: Turn) -> Outcome:
    """Decide what an event brings about. Raises: Malformed."""
    match event.type:
        case "message.received":
            return await _written(event, deps, turn)
        case "message.transcribed":
            return await _transcribed(event, deps, turn)
        case "conversation.settled":
            return await _settled(event, deps, turn)
        case "conversation.changed":
            return await _changed(event, deps, turn)
        case "dialog.due":
            return await _due(event, deps, turn)
    return await _reported(event, deps, turn)


async def _written(event: Event, deps: DialogDeps, turn: Turn) -> Outcome:
    told = told_in(event)
    if is_test_contact(told.get("contact_id")):
        return Done(skipped="test contact")
    if str(told.get("kind")) in SILENT:
        return Done(skipped="nothing said")
    chat = chat_of(told)
    message = message_of(told, event, chat, turn.now)
    if turn.now - message.at > deps.keeps:
        return Done(skipped="too old")
    provider, reply_to = _replied(chat, told)
    known = await deps.standing(Asked(chat.key, message.key, provider, reply_to))
    if known.known:
        return Done(skipped="known already")
    seen, message = _seen(event, told, chat, message.at), replace(message, answers=known.answers)
    hearing = Hearing(event, chat.key, _with(known, seen), deps, turn)
    rows: list[Row] = [seen, message]
    if (wish := _wish(message)) is not None:
        rows += _wished(hearing, message, seen, wish)
        return Done(rows=tuple(rows))
    if hearing.surely_answers(message) and not await _comes_by_chatwoot(deps, seen):
        return Done(rows=(*rows, *hearing.at_once(message)))
    waiting = [*known.waiting, message]
    at = settles_at(waiting, turn.now, deps.pace)
    if at <= turn.now:
        done = await hearing.understood(waiting)
        return done._replace(rows=(*rows, *done.rows, Clock(chat.key, "settles_at", None)))
    return Done(rows=(*rows, Clock(chat.key, "settles_at", at)))


def _replied(chat: Chat, told: Mapping[str, Any]) -> tuple[str, str]:
    """Whose message is replied to: the provider by which it went, and its id there."""
    reply_to = told.get("reply_to")
    provider = "meta" if chat.system == "360dialog" else chat.system
    return (provider, reply_to) if isinstance(reply_to, str) and reply_to else ("", "")


def _seen(event: Event, told: Mapping[str, Any], chat: Chat, wrote_at: datetime | None) -> Seen:
    """What an event tells of a conversation. Without the member `channel` a message came by WhatsApp."""
    phone = phone_told(dict(told))
    name, channel = told.get("name"), told.get("channel", None if wrote_at is None else WHATSAPP)
    contact = told.get("contact_id")
    return Seen(
        chat=chat,
        subject=event.subject,
        channel=channel if isinstance(channel, str) else None,
        line=None if phone is None else key(phone=phone),
        phone=None if phone is None else phone.e164,
        contact_ref=contact if isinstance(contact, str) and contact else None,
        name=name if isinstance(name, str) and name else None,
        wrote_at=wrote_at,
    )


def _with(known: conversations.Standing, seen: Seen) -> conversations.Standing:
    """How the conversation stands with what is told of it now."""
    chat = seen.chat
    return replace(
        known,
        there=True,
        system=chat.system,
        subject=seen.subject,
        chatwoot_account_id=chat.account,
        chatwoot_conversation_id=chat.conversation,
        inbox_id=chat.inbox if chat.inbox is not None else known.inbox_id,
        channel=seen.channel or known.channel,
        phone=seen.phone or known.phone,
        contact_ref=seen.contact_ref or known.contact_ref,
        name=seen.name or known.name,
    )


def _wish(message: Buffered) -> bool | None:
    """Whether a message says that messages are wanted, or are not; None: it says something else."""
    tapped = message.kind == "choice"
    wish = wants(message.text, tapped=tapped)
    return wants(message.choice, tapped=True) if wish is None and tapped else wish


def _wished(hearing: Hearing, message: Buffered, seen: Seen, wish: bool) -> Sequence[Row]:
    """The rows of a wish about messages. A word that may mean only the dialog, as "cancel", ends the dialog that is
    open, and takes nothing else from its person; whoever wants no messages has no dialog any more."""
    note = hearing.note([message.key], "tells whether messages are wanted")
    if not hearing.context.is_open:
        return (note,)
    if wish:
        return hearing.at_once(message) if hearing.surely_answers(message) else (note,)
    if wants(message.text, tapped=True) is None and hearing.surely_answers(message):
        kept = [] if seen.line is None else [_kept_on(seen.line, hearing.event, message.at)]
        return (*kept, *hearing.at_once(message))
    return (hearing.turned(Step(hearing.context.over()), understood=[note]),)


def _kept_on(line: str, event: Event, at: datetime) -> Preference:
    """The word that ended a dialog was read as a stop by the worker of messages; this comes after it."""
    return Preference(line, "all", False, at + TICK, "dialog", event.id)


async def _comes_by_chatwoot(deps: DialogDeps, seen: Seen) -> bool:
    """Whether the same message may come by Chatwoot as well, whose conversation then has the dialog."""
    return seen.chat.system != CHATWOOT and seen.line is not None and await deps.is_in_chatwoot(seen.line)


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
    if step.context == hearing.context:
        return Done(rows=(Clock(chat, "due_at", step.due_at),), skipped="not due")
    return Done(rows=(hearing.turned(step),))


async def _changed(event: Event, deps: DialogDeps, turn: Turn) -> Outcome:
    told = told_in(event)
    if is_test_contact(told.get("contact_id")):
        return Done(skipped="test contact")
    chat = chat_of({**told, "contact_id": told.get("contact_id") or ""})
    known = _with(await deps.standing(Asked(chat.key)), _seen(event, told, chat, None))
    what, status, assigned = told.get("what"), told.get("status"), told.get("assignee")
    at = time_told(told, event.time)
    spoke, resolved = what == "agent_replied", what == "status" and status == "resolved"
    rows: list[Row] = [
        _seen(event, told, chat, None),
        Told(
            chat.key,
            status if isinstance(status, str) else None,
            assigned if isinstance(assigned, bool) else None,
            at if spoke else None,
            resolved,
        ),
    ]
    hearing = Hearing(event, chat.key, known, deps, turn)
    until = at + deps.pause
    if spoke and until > turn.now:
        step = dialog.paused(deps.rules, hearing.context, chat.key, until, turn.now)
    elif resolved:
        step = dialog.resumed(deps.rules, hearing.context, chat.key, turn.now)
    else:
        return Done(rows=tuple(rows))
    if step.context != hearing.context:
        rows.append(hearing.turned(step))
    return Done(rows=tuple(rows))


async def _reported(event: Event, deps: DialogDeps, turn: Turn) -> Outcome:
    begins = deps.rules.begun_by(event=REPORT)
    if begins is None:
        return Done(skipped="no dialog")
    told = event.json()
    phone = phone_told(told)
    chat = None if phone is None else await deps.chat_of_line(key(phone=phone))
    if phone is None or chat is None:
        return Done(skipped="no conversation")
    known = await deps.standing(Asked(chat))
    hearing = Hearing(event, chat, known, deps, turn)
    if isinstance(hearing.way, NoWay):
        return Done(skipped="no way to answer")
    language = known.language or await deps.language_of(phone.e164)
    step = hearing.begun(begins.name, _params(told), language, event.id)
    if not step.used or step.context == hearing.context:
        return Done(skipped="no dialog")
    return Done(rows=(hearing.turned(step),))


def _params(told: Mapping[str, Any]) -> dict[str, str]:
    """What a report tells, as its dialog is given it: `issues` and `categories` are lists in one text."""
    issues = [one for one in told.get("issues") or () if isinstance(one, dict)]
    params = {
        "order": told.get("order_id"),
        "applicant": told.get("applicant_name"),
        "applicant_id": told.get("applicant_id"),
        "issues": ", ".join(str(one.get("label") or one.get("code") or one.get("category")) for one in issues),
        "categories": ",".join(dict.fromkeys(str(one.get("category")) for one in issues)),
    }
    return {name: str(value) for name, value in params.items() if value}


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
    return (_seen(event, told, chat_of(told), None), *rows)


async def record(conn: Connection, rows: Sequence[Row]) -> Sequence[Event]:
    """Write what events bring about; returns the messages that are to be sent, and what tells of complete orders.
    Conversations are locked first, in the order of their names."""
    turns = sorted((row for row in rows if isinstance(row, Turned)), key=lambda row: row.context.chat)
    seen = [row for row in rows if isinstance(row, Seen)]
    clocks = [row for row in rows if isinstance(row, Clock)]
    chats = {row.chat.key for row in seen} | {row.context.chat for row in turns} | {row.chat for row in clocks}
    await conversations.lock(conn, sorted(chats))
    await conversations.see(conn, seen)
    await conversations.tell(conn, [row for row in rows if isinstance(row, Told)])
    await buffered_messages.keep(conn, [row for row in rows if isinstance(row, Buffered)])
    for row in rows:
        if isinstance(row, Transcript):
            await buffered_messages.transcribe(conn, row.key, row.text, row.event_id, row.at)
    await conversations.wind(conn, clocks)
    emitted = [event for row in turns for event in await _turn(conn, row)]
    for row in rows:
        if isinstance(row, Understood):
            await buffered_messages.understand(conn, row)
    await opt_outs.keep(conn, [row for row in rows if isinstance(row, Preference)])
    return [*emitted, *await notices.record(conn, rows)]


async def _turn(conn: Connection, row: Turned) -> Sequence[Event]:
    """Write a step; returns what it emits."""
    if not await conversations.turn(conn, row.context):
        await conversations.look_again(conn, row.context.chat, row.at)
        return ()
    events = list(row.events)
    if row.order is not None and (kept := await content_orders.keep(conn, row.order)) is not None:
        events.append(completed(row, row.order, kept.user_id))
    for request in row.requests:
        if await messages.request_once(conn, request):
            events.append(_caused(row.cause, event_of(request, row.at)))
    for one in row.understood:
        await buffered_messages.understand(conn, one)
    return events


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
