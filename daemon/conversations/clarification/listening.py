"""A message of a person on its way to their dialog: known already, a wish about messages, an answer, or one of several
that are understood as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from adapters.postgres.buffered_messages import Buffered
from adapters.postgres.conversations import Asked, Clock, Seen, Standing
from adapters.postgres.opt_outs import Preference
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.conversations.clarification.buffering import message_of, settles_at
from daemon.conversations.clarification.hearing import Hearing
from daemon.conversations.clarification.moving import moved_to, with_dialog
from daemon.conversations.clarification.wiring import DialogDeps
from daemon.conversations.dialogs.steps import Step
from daemon.messages.preferences import wants
from schemas.conversations import Chat, chat_of
from schemas.envelope import Event
from schemas.told import SILENT, WHATSAPP, is_test_contact, phone_told, told_in

TICK: Final = timedelta(milliseconds=1)


async def written(event: Event, deps: DialogDeps, turn: Turn) -> Outcome:
    """A person has written. Raises: Malformed."""
    told = told_in(event)
    if is_test_contact(told.get("contact_id")):
        return Done(skipped="test contact")
    if str(told.get("kind")) in SILENT:
        return Done(skipped="nothing said")
    chat = chat_of(told)
    message = message_of(told, event, chat, turn.now)
    if turn.now - message.at > deps.keeps:
        known = await deps.standing(Asked(chat.key))
        new = () if known.there else (seen_in(event, told, chat, None),)  # it can be looked at all the same
        return Done(rows=new, skipped="too old")
    provider, reply_to = _replied(chat, told)
    known = await deps.standing(Asked(chat.key, message.key, provider, reply_to))
    if known.known:
        return Done(skipped="known already")
    seen, message = seen_in(event, told, chat, message.at), replace(message, answers=known.answers)
    known = with_it(known, seen)
    moved = await moved_to(event, seen, known, deps, turn.now)
    hearing = Hearing(event, chat.key, known if moved is None else moved.known, deps, turn)
    done = await _taken_in(hearing, seen, message)
    rows = (seen, message, *done.rows)
    return done._replace(rows=rows if moved is None else with_dialog(rows, moved, hearing))


async def _taken_in(hearing: Hearing, seen: Seen, message: Buffered) -> Done:
    """What *message* brings about, or when it will be understood."""
    if (wish := _wish(message)) is not None:
        return Done(rows=tuple(_wished(hearing, message, seen, wish)))
    if hearing.surely_answers(message):
        return Done(rows=hearing.at_once(message))
    waiting = [*hearing.known.waiting, message]
    at = settles_at(waiting, hearing.now, hearing.deps.pace)
    if at <= hearing.now:
        done = await hearing.understood(waiting)
        return done._replace(rows=(*done.rows, Clock(hearing.chat, "settles_at", None)))
    return Done(rows=(Clock(hearing.chat, "settles_at", at),))


def _replied(chat: Chat, told: Mapping[str, Any]) -> tuple[str, str]:
    """Whose message is replied to: the provider by which it went, and its id there."""
    reply_to = told.get("reply_to")
    provider = "meta" if chat.system == "360dialog" else chat.system
    return (provider, reply_to) if isinstance(reply_to, str) and reply_to else ("", "")


def seen_in(event: Event, told: Mapping[str, Any], chat: Chat, wrote_at: datetime | None) -> Seen:
    """What an event tells of a conversation. Without the member `channel` a message came by WhatsApp."""
    phone = phone_told(dict(told))
    name, channel = told.get("name"), told.get("channel", None if wrote_at is None else WHATSAPP)
    contact = told.get("contact_id")
    return Seen(
        chat=chat,
        subject=event.subject,
        channel=channel if isinstance(channel, str) else None,
        line=None if phone is None else phone.line,
        phone=None if phone is None else phone.e164,
        contact_ref=contact if isinstance(contact, str) and contact.rpartition(":")[2] else None,
        name=name if isinstance(name, str) and name else None,
        wrote_at=wrote_at,
    )


def with_it(known: Standing, seen: Seen) -> Standing:
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
