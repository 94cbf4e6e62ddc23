"""The outbound-messaging worker: a message is sent once, and what people write opens their windows.

    message.requested   may it be sent? ──► no: skipped, or failed, with the reason
        ──► the sender looks, takes its place at the rate limit, claims the message, and sends it ──► sent

The claim turns the row from `queued` into `sending` in a transaction of its own, before the first byte of the call.
What is found `sending` later was claimed by a call whose end nobody has recorded: it is uncertain, and never sent again
by itself. A call that was refused before anything happened gives its claim back. Before any claim the message may move
along its route, where its account is down or gone (`moving.py`); so the row says by which account it goes.

    template.changed    what a provider tells of a template is kept

    message.received    kept as an inbound message; free text may be sent to the person for 24 hours. A word that stops
                        messages, or starts them again, is honoured from then on
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from adapters.ports import LONGEST_FILE_S
from adapters.postgres import deliveries, holds, messages, opt_outs, templates, windows
from adapters.postgres.deliveries import Sent
from adapters.postgres.holds import Back, Waits
from adapters.postgres.messages import Asked, Ended, Killing, MessageState
from adapters.postgres.opt_outs import Preference
from adapters.postgres.pool import Connection
from adapters.postgres.windows import Written
from daemon.bus.outcome import Done, Later, Outcome, Row, Turn
from daemon.bus.worker import Worker
from daemon.messages.content import from_json, kind_of, parted
from daemon.messages.holding import held_back, held_back_s, in_lane, scope, stopped
from daemon.messages.moving import closed, moved_at_once, onward
from daemon.messages.received import received, with_behind
from daemon.messages.requests import CAMPAIGNS, Requested, requested
from daemon.messages.rules import HEARD_BY, why_not
from daemon.messages.senders import NoAccount
from daemon.messages.template_news import told_of
from daemon.messages.wiring import CHANNELS, MESSAGES, MessageDeps
from schemas.envelope import Event
from schemas.errors import (
    ChannelClosed,
    ChannelDown,
    FerrymanError,
    NotSent,
    OutsideWindow,
    PairLimited,
    Permanent,
    TemplateStopped,
    Uncertain,
    Unwritten,
)
from schemas.messages import OutboundMessage
from schemas.phone import line
from schemas.templates import SENDABLE

CUT_SHORT: Final = "the process ended while the message was being sent"

LONGEST_HOLD_S: Final = 600.0
"""For longer a message does not wait in its lane, where those behind it would wait too."""


class _NotQueued(NotSent):
    """The message was canceled or moved, or another call has claimed it."""


async def handle(event: Event, deps: MessageDeps, turn: Turn) -> Outcome:
    """Send a message, or note that one has come, or what is new of a template. Raises what the sender raises, and
    Malformed."""
    if event.type == "message.received":
        return received(event)
    if event.type == "template.changed":
        return Done(rows=(told_of(event),))
    message, state = await _by_its_row(requested(event), deps)
    if state.status is None:
        return Done(skipped="unknown message")
    if state.event_id not in (None, event.id):  # it has changed since, as its phone, and comes by another event
        return Done(skipped="superseded")
    if state.status == "sending":
        deps.count(message.provider, "uncertain")
        raise Uncertain(CUT_SHORT)
    if state.status == "failed" and event.target and await deps.requeue(message.id):
        pass  # an operator has taken its dead letter up again
    elif state.status != "queued":
        return Done(skipped=f"{state.status} already")
    state = with_behind(state, message.provider, turn.behind())
    reason = why_not(message.content, message.provider, state.written_at, turn.now, opted_out=state.opted_out)
    if reason is not None:
        return _skipped(deps, turn, message, reason)
    return await _send_or_move(event, deps, turn, message, state)


async def _by_its_row(message: Requested, deps: MessageDeps) -> tuple[Requested, MessageState]:
    """The message as its row has it: by another account than its event says, where it was moved."""
    state = await _state(message, deps)
    if state.status is None or (state.provider, state.account) == (message.provider, message.account):
        return message, state
    assert state.provider is not None
    assert state.account is not None
    message = replace(message, provider=state.provider, account=state.account)
    if state.content is not None:
        message = replace(message, content=from_json(kind_of(message.content), orjson.loads(state.content)))
    return message, await _state(message, deps)  # the window is that of its provider's number


async def _state(message: Requested, deps: MessageDeps) -> MessageState:
    heard_by = ",".join(HEARD_BY.get(message.provider, ()))
    return await deps.state(Asked(message.id, line(message.to.e164), heard_by))


async def _send_or_move(
    event: Event, deps: MessageDeps, turn: Turn, message: Requested, state: MessageState
) -> Outcome:
    """Send the message; or move it along its route where its account is down or gone, and begin anew by the row."""
    if await moved_at_once(deps, turn, message, state):
        return Later(turn.now)
    try:
        return await _send_or_hold(event, deps, turn, message, state)
    except (ChannelClosed, ChannelDown, NoAccount) as error:
        way = await onward(deps, turn, message, state, str(error))
        if way.moved:
            return Later(turn.now)
        if not isinstance(error, NoAccount):
            error.instead = way.instead
            raise
        if way.instead:
            raise closed(str(error), *way.instead) from None
        return _failed(event, deps, turn, message, error.full_text, error.code)


async def _send_or_hold(
    event: Event, deps: MessageDeps, turn: Turn, message: Requested, state: MessageState
) -> Outcome:
    """Send the message, or its fallback text where its template is stopped; or let it wait."""
    if state.stopped_until is not None and (text := _instead(message, state, turn)) is not None:
        message, state = text, replace(state, stopped_until=None)
    held = await held_back(event, deps, turn, message, state)
    return await _send(event, deps, turn, message, state) if held is None else held


def _instead(message: Requested, state: MessageState, turn: Turn) -> Requested | None:
    """The fallback text of a template, where it has one that may be sent now."""
    _, fallback = parted(message.content)
    if fallback is None or why_not(fallback, message.provider, state.written_at, turn.now) is not None:
        return None
    return replace(message, content=fallback)


async def _send(event: Event, deps: MessageDeps, turn: Turn, message: Requested, state: MessageState) -> Outcome:
    """One call of the sender, and what becomes of the message by it. A template that is refused for good gives way to
    its fallback text, where free text may be sent."""
    sender = deps.senders.get((message.provider, message.account))
    if sender is None:
        return _failed(event, deps, turn, message, f"{message.provider} is not configured: see `ferryman status`", None)
    attempt: int | None = None

    async def claim() -> None:
        nonlocal attempt
        attempt = await deps.claim(message.id, event.id, (message.provider, message.account))
        if attempt is None:
            raise _NotQueued("the message is not queued any more")

    content, _ = parted(message.content)
    outbound = OutboundMessage(
        id=message.id, to=message.to, content=content, name=state.name, conversation=state.conversation
    )
    try:
        taken = await sender.send(outbound, claim)
    except _NotQueued:
        return Later(turn.now)  # by its row, as it is by now
    except (Uncertain, NoAccount) as error:
        if isinstance(error, Uncertain):
            deps.count(message.provider, "uncertain")
        raise
    except OutsideWindow as error:
        return _skipped(deps, turn, message, str(error))
    except (Permanent, TemplateStopped) as error:
        text = _instead(message, state, turn)
        if text is None and isinstance(error, Permanent):
            return _failed(event, deps, turn, message, error.full_text, error.code)
        if attempt is not None:
            await deps.unclaim(message.id, attempt, str(error))
        return stopped(event, turn, message, error) if text is None else await _send(event, deps, turn, text, state)
    except PairLimited as error:
        if attempt is not None:
            await deps.unclaim(message.id, attempt, str(error))
        pair = deps.pairs[message.provider]
        return in_lane(turn, message, await pair.refused(scope(message), line(message.to.e164), str(message.id)))
    except FerrymanError as error:
        if (held_back := held_back_s(error)) is not None and held_back > LONGEST_HOLD_S:
            return _failed(event, deps, turn, message, f"{error}: send it again in a day", error.code)
        if attempt is not None:
            await deps.unclaim(message.id, attempt, str(error))
        if held_back is not None:
            return Later(turn.now + timedelta(seconds=held_back))
        raise
    # an id with a control character is none that a status would name, and U+0000 can't be stored
    provider_id = taken.provider_id if taken.provider_id is not None and taken.provider_id.isprintable() else None
    rows: list[Row] = [Ended(id=message.id, status="sent", at=turn.now, provider_id=provider_id)]
    if provider_id is not None:
        rows.append(Sent(message.id, message.provider, provider_id))
    deps.count(message.provider, "sent")
    fact = _fact(message, provider_message_id=provider_id)
    return Done(rows=tuple(rows), emit=(event.emit("message.sent", 0, fact, time=turn.now),))


def _skipped(deps: MessageDeps, turn: Turn, message: Requested, reason: str) -> Done:
    deps.count(message.provider, "skipped")
    return Done(rows=(Ended(id=message.id, status="skipped", at=turn.now, error=reason),), skipped="not allowed")


def _failed(event: Event, deps: MessageDeps, turn: Turn, message: Requested, error: str, code: str | None) -> Done:
    deps.count(message.provider, "failed")
    row = Ended(id=message.id, status="failed", at=turn.now, error=error, error_code=code)
    failed = event.emit("message.failed", 0, _fact(message, error_code=code), time=turn.now)
    return Done(rows=(row,), emit=(failed,))


def _fact(message: Requested, **members: Any) -> dict[str, Any]:
    told = {"message_id": str(message.id), "provider": message.provider, "account": message.account}
    return {**told, "phone": message.to.e164, **members}


def buried(event: Event, error: FerrymanError, turn: Turn) -> Sequence[Row]:
    """How the message of an event ends that is given up, or whose end nobody knows."""
    if event.type != "message.requested":
        return ()
    try:
        message_id = UUID(event.json()["message_id"])
    except (FerrymanError, TypeError, KeyError, ValueError):
        return ()
    status = "uncertain" if isinstance(error, Uncertain | Unwritten) else "failed"
    return (Ended(id=message_id, status=status, at=turn.now, error=error.full_text, error_code=error.code),)


def poisoned(event_id: str, turn: Turn) -> Sequence[Row]:
    """How the message of an event ends that kills the process."""
    return (Killing(event_id, turn.now),)


def waits(event: Event, why: str, turn: Turn) -> Sequence[Row]:
    """Says on the row of a message why it waits, as for its provider."""
    if event.type != "message.requested":
        return ()
    return (Waits(requested(event).id, why),)


async def record(conn: Connection, rows: Sequence[Row]) -> Sequence[Event]:
    """Write what became of messages, and what has come."""
    sent = [row for row in rows if isinstance(row, Sent)]
    await deliveries.lock(conn, [row.provider_id for row in sent])
    await windows.record(conn, [row for row in rows if isinstance(row, Written)])
    await opt_outs.keep(conn, [row for row in rows if isinstance(row, Preference)])
    told = [row for row in rows if isinstance(row, templates.Told)]
    await templates.tell(conn, told)
    await holds.record(conn, rows)
    await holds.lift(conn, [Back(t.provider, t.name, t.language, t.at) for t in told if t.status == SENDABLE])
    await messages.end(conn, [row for row in rows if isinstance(row, Ended)])
    await messages.end(conn, await deliveries.link(conn, sent))
    await messages.end_killing(conn, [row for row in rows if isinstance(row, Killing)])
    return ()


WORKER: Final[Worker[MessageDeps]] = Worker(
    name="outbound-messaging",
    reads=("messages",),
    types=frozenset({"message.requested", "message.received", "template.changed"}),
    begins="now",
    domain=MESSAGES,
    handle=handle,
    record=record,
    buried=buried,
    poisoned=poisoned,
    waits=waits,
    channels=CHANNELS,
    bulk_sources=frozenset([CAMPAIGNS]),
    on_uncertain="hold",
    # each call of a provider may wait for its answer and its place; a file may be fetched and uploaded before
    deadline_s=lambda s: 3 * (s.cgb_timeout / 1000 + 30) + 30 + LONGEST_FILE_S,
)
