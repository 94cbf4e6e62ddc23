"""What waits in a conversation and why, one plain sentence each. Values in, values out; nothing quotes a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from adapters.postgres.operator.conversation_parts import OpenLetter
from adapters.postgres.operator.conversations import StoredConversation
from daemon.operator.conversation_dialog import Dialog
from daemon.operator.conversation_timeline import Said
from daemon.operator.why import NEXT

UNDERSTANDING: Final = "clarification"
"""The worker that understands what people write, and asks them."""

_NOT_SENT: Final = frozenset({"skipped", "failed", "canceled"})
_SPEAKING: Final = frozenset({"pending", "processing"})


def not_understood(of: StoredConversation, said: Sequence[Said], now: datetime, stopped: str | None) -> Iterator[str]:
    """Of what was written and is not understood yet. *stopped*: why its worker does not go on."""
    held = [one for one in said if one.waiting is not None and one.waiting.understood_at is None]
    silent = [one for one in held if one.waiting is not None and one.waiting.waits_for_text]
    for one in silent:
        yield f"the {one.kind} message of {shown(one.at)} waits for its transcription{_spoken(one)}"
    if held and len(silent) < len(held):
        number = len(held) - len(silent)
        what, be = ("1 message waits", "is") if number == 1 else (f"{number} messages wait", "are")
        if of.settles_at is not None and of.settles_at > now:
            yield f"{what} until {shown(of.settles_at)}, for what else the person writes, and {be} understood then"
        else:
            yield f"{what} to be understood: {stopped or NEXT}"


def _spoken(one: Said) -> str:
    """How the texts of its files stand."""
    told = [
        f"{file.spoken}{f', {file.spoken_error}' if file.spoken_error else ''}"
        if file.spoken
        else f"file {file.status}"
        for file in one.files
    ]
    return f" ({'; '.join(told)})" if told else ""


def dialog_waits(of: StoredConversation, dialog: Dialog, said: Sequence[Said], now: datetime) -> Iterator[str]:
    """Of the open question, and of the bot that is silent."""
    if dialog.paused_until is not None and dialog.paused_until > now:
        handed_over = of.escalated_at is not None and (of.agent_at is None or of.agent_at < of.escalated_at)
        why = "for a person to answer" if handed_over else "as a human agent is talking"
        yield f"the bot is silent until {shown(dialog.paused_until)}, {why}"
    if dialog.field is None:
        return
    times = len(dialog.asked)
    asked = "" if times < 2 else f", asked {times} times"
    due = "" if of.due_at is None else shown(of.due_at)
    if dialog.since is None:  # the bot had to be silent when it came to it
        yield f"the question about {dialog.field} is to be asked yet{f', at {due}' if due else ''}"
    else:
        then = f"; a reminder or the end of the dialog is due at {due}" if due else ""
        yield f"the answer about {dialog.field} is waited for since {shown(dialog.since)}{asked}{then}"
    last = _message_of(said, dialog.asked[-1].id) if times else None
    if last is not None and last.status in _NOT_SENT:
        why = f": {last.error}" if last.error else ""
        yield f"the question about {dialog.field} was not sent ({last.status}){why}"


def _message_of(said: Sequence[Said], id: UUID) -> Any:
    return next((one.message for one in said if one.message is not None and one.message.id == id), None)


def going_out(said: Sequence[Said], why: Mapping[UUID, str]) -> Iterator[str]:
    """Of messages to the person. *why*: message -> why it has not gone out."""
    for one in said:
        m = one.message
        if m is None or m.direction == "in":
            continue
        if m.status == "uncertain":
            settle = f"`ferryman uncertain settle {str(m.id)[:8]}`"
            yield f"the message {m.id} may have been sent, and nobody knows: {settle}"
        elif m.id in why:
            yield f"the message {m.id} waits for {m.provider}: {why[m.id]}"


def files_wait(said: Sequence[Said]) -> Iterator[str]:
    """Of files that are not stored yet, and of those without their text."""
    for one in said:
        understood = one.waiting is None or not one.waiting.waits_for_text
        for file in one.files:
            if file.status == "pending":
                yield f"the {file.kind} of {shown(one.at)} waits to be stored"
            elif file.spoken in _SPEAKING and understood:
                yield f"the {file.kind} of {shown(one.at)} waits for its transcription"


def objects_wait(times: Sequence[datetime]) -> Iterator[str]:
    """Of objects that wait here for the object store. *times*: of their messages."""
    for at in times:
        yield f"the archive of the message of {shown(at)} waits here until the object store takes it"


def handed_over(of: StoredConversation) -> Iterator[str]:
    """Of a conversation that a person has to go on with."""
    if of.escalated_at is not None:
        why = f": {of.escalated_why}" if of.escalated_why else ""
        yield f"a person has to answer, since {shown(of.escalated_at)}{why}"


def given_up(letters: Sequence[OpenLetter]) -> Iterator[str]:
    """Of events that a worker has given up on."""
    for one in letters:
        yield f"{one.worker} has given up on {one.type} {one.event_id}: dead letter {one.number}, {one.error_class}"


def not_ended(events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Of events that a worker has not ended with."""
    for event in events:
        for worker, reason in event["why"].items():
            yield f"{worker} has not ended with {event['type']} {event['id']}: {reason}"


def shown(at: datetime) -> str:
    """UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
