"""What holds a message back that may be sent: its template is stopped, its person got too many in a short time, or
CGB, which gives no ids, has one under way to the same phone.

What lasts a while takes the message out of its lane, where those behind it would wait too: it is scheduled anew. What
is over soon, or has to keep the order of the person's messages, waits in the lane.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from adapters.postgres.holds import Held, TemplateStop, Waits
from adapters.postgres.messages import MessageState
from daemon.bus.outcome import Done, Later, Outcome, Turn
from daemon.messages.content import parted
from daemon.messages.requests import Requested
from schemas.envelope import Event, event_id
from schemas.errors import FerrymanError, Transient
from schemas.messages import Template
from schemas.phone import line

if TYPE_CHECKING:
    from daemon.messages.wiring import MessageDeps

STOPPED_FOR: Final = timedelta(minutes=10)
"""So long the messages of a stopped template wait until one of them finds out whether it is back."""

SPREAD_S: Final = 60
"""The others follow the first one within so many seconds, behind it, so that they don't all find out."""

CORRELATING: Final = timedelta(seconds=3)
"""How often to look whether the message before, through CGB, is known by a status."""


async def held_back(
    event: Event, deps: MessageDeps, turn: Turn, message: Requested, state: MessageState
) -> Outcome | None:
    """What becomes of a message that may be sent and not now; None: it goes out now."""
    if state.stopped_until is not None:
        until = state.stopped_until + timedelta(seconds=5 + message.id.int % SPREAD_S)
        return _out_of_lane(event, Held(message.id, until, _again(event), f"waits: {state.stopped_why}"))
    if message.provider == "cgb" and await deps.uncorrelated(message.id, message.to.e164):
        why = "waits: the message before to this phone is not known by a status yet, and CGB gives no ids"
        return Later(turn.now + CORRELATING, (Waits(message.id, why),))
    pair = deps.pairs.get(message.provider)
    if pair is None:
        return None
    wait_s = await pair.wait_s(scope(message), line(message.to.e164), str(message.id))
    return None if wait_s <= 0 else in_lane(turn, message, wait_s)


def in_lane(turn: Turn, message: Requested, wait_s: float) -> Later:
    """The message waits for its person, and with it the person's later ones."""
    why = f"waits: {message.provider} takes no more messages to one person in so short a time"
    return Later(turn.now + timedelta(seconds=wait_s), (Waits(message.id, why),))


def stopped(event: Event, turn: Turn, message: Requested, error: FerrymanError) -> Done:
    """The provider has refused the template of *message* for now: its messages wait, and this one is the first to find
    out whether it is back."""
    content, _ = parted(message.content)
    assert isinstance(content, Template)
    until = turn.now + STOPPED_FOR
    account = message.provider, message.account
    stop = TemplateStop(*account, content.name, content.language or "", error.code, str(error), turn.now, until)
    held = _out_of_lane(event, Held(message.id, until, _again(event), f"waits: {error}"))
    return held._replace(rows=(*held.rows, stop))


def held_back_s(error: FerrymanError) -> float | None:
    """For how many seconds the provider takes no message to this one person, while it goes on to take those to others;
    None: *error* says no such thing."""
    ours = isinstance(error, Transient) and error.answered and not error.limited
    return error.retry_after_s if ours and isinstance(error, Transient) else None


def scope(message: Requested) -> str:
    """The account that a pair is counted by."""
    return f"{message.provider}:{message.account}"


def _out_of_lane(event: Event, row: Held) -> Done:
    return Done(rows=(row,), skipped="template stopped")


def _again(event: Event) -> str:
    """The event by which a message comes again: another one than *event*, which is done then."""
    return event_id("ferryman", "message.requested", event.id)
