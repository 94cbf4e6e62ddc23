"""The automatic-messages worker: what happens to an order brings about the messages that `messages.toml` asks for.

    order.received, applicant_issue.reported
        ──► consent, branch, phone: a gate of them is closed ──► skipped, with the reason; what is queued is withdrawn
        ──► which rules fit ──► a row of `messages` each, and `message.requested`; one for later waits for its time

The id of a message derives from the order, what is told, and of whom: whatever comes again tells nothing twice. What
is queued follows the order: its time, its text and its phone, until it has gone out. An older state of an
order that arrives late brings nothing about.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from adapters.postgres import automatic
from adapters.postgres.automatic import Asked, Known, Planned, State, Told
from adapters.postgres.messages import Request
from adapters.postgres.pool import Connection
from adapters.registry import SENDERS
from daemon.bus.aside import LARGE_BYTES, in_thread
from daemon.bus.batcher import Batcher
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.worker import Domain, Outside, Worker
from daemon.messages.automatic_decisions import Decision, Terms, Wanted, decide
from daemon.messages.automatic_fields import ORDER, REPORT, Facts, facts_of_order, facts_of_report
from daemon.messages.automatic_rules import MESSAGE_RULES, MessageRules, why_idle
from daemon.messages.content import kind_of, to_json
from daemon.messages.requests import event_of
from daemon.settings.model import Settings
from schemas.envelope import Event, event_id
from schemas.messages import Content
from schemas.orders import Order, is_test_order, order_from, order_id_of
from schemas.phone import aliases


@dataclass(frozen=True, slots=True, kw_only=True)
class AutomaticDeps:
    """The outside as the handler sees it. *known*: answers what is known of an order."""

    terms: Terms
    known: Callable[[Asked], Awaitable[Known]]


@asynccontextmanager
async def _opened(outside: Outside) -> AsyncIterator[AutomaticDeps]:
    lookups: Batcher[Asked, Known] = Batcher(partial(automatic.known, outside.pool))
    yield AutomaticDeps(terms=terms_of(outside.settings, outside.rules(MESSAGE_RULES)), known=lookups.submit)


def terms_of(settings: Settings, rules: MessageRules) -> Terms:
    """What holds for all messages of an installation with these settings and rules."""
    return Terms(
        rules=rules,
        branches=settings.ferryman_message_branches,
        provider=settings.messages_default_provider,
        refusal=_refusal,
    )


def _refusal(provider: str, content: Content) -> str | None:
    if provider not in SENDERS:
        return f"provider {provider} sends no messages here: take one of {', '.join(SENDERS)}"
    return SENDERS[provider]().refusal(content)


async def handle(event: Event, deps: AutomaticDeps, turn: Turn) -> Outcome:
    """Decide which messages an event brings about. Raises: Malformed."""
    if event.type == REPORT:
        facts, state = facts_of_report(event), None
    else:
        if b"-TEST" in event.data and is_test_order(order_id_of(event.data) or ""):
            return Done(skipped="test order")
        order = await _read(event.data, event.time)
        facts, state = facts_of_order(order, event.time), order.state
    found = await deps.known(asked_of(facts))
    if state is not None and is_superseded(found, state):
        return Done(skipped="superseded")
    decision = decide(facts, found.language, deps.terms, turn.now)
    return Done(rows=(told_of(event, facts, state, decision, turn.now),), skipped=decision.skipped)


async def _read(data: bytes, received_at: datetime) -> Order:
    """The order in *data*; a large one is read in a thread, so that the process goes on. Raises: Malformed."""
    if len(data) <= LARGE_BYTES:
        return order_from(data, received_at)
    return await in_thread(lambda: order_from(data, received_at))


def asked_of(facts: Facts) -> Asked:
    """The question about the order of *facts*, and its person."""
    return Asked(facts.order_id, "" if facts.phone is None else ",".join(aliases(facts.phone.e164)))


def is_superseded(known: Known, state: State) -> bool:
    """Whether a newer state of the order is known: it was handled here, or it is in `orders`, and comes here too."""
    if known.state is not None and known.state > state:
        return True
    return known.stored is not None and known.stored > state[:2]


def told_of(
    event: Event, facts: Facts, state: State | None, decision: Decision, now: datetime, *, by_hand: bool = False
) -> Told:
    """The row of what *decision* brings about. *state*: None where *event* tells no state of an order. *by_hand*: an
    operator asks for it."""
    return Told(
        order_id=facts.order_id,
        trigger=facts.trigger,
        state=state,
        planned=[_planned(event, wanted) for wanted in decision.wanted],
        phone=None if facts.phone is None else facts.phone.e164,
        withdraw=decision.gate or ("canceled" if facts.canceled else None),
        at=now,
        cause=event.id,
        traceparent=event.traceparent,
        by_hand=by_hand,
    )


def _planned(event: Event, wanted: Wanted) -> Planned:
    request = Request(
        id=wanted.id,
        provider=wanted.provider,
        account=wanted.account,
        phone=wanted.to.e164,
        kind=kind_of(wanted.content),
        content=to_json(wanted.content),
        purpose=f"rule:{wanted.rule}",
        # a message that was withdrawn and is wanted again needs another event than the one that found it withdrawn
        event_id=event_id("ferryman", "message.requested", str(wanted.id), event.id),
        not_before=wanted.not_before,
        category=wanted.category,
    )
    return Planned(request=request, kind=wanted.kind, subject=wanted.subject, rule=wanted.rule, old=wanted.old)


async def record(conn: Connection, rows: Sequence[Row]) -> Sequence[Event]:
    """Write what events bring about; returns a `message.requested` for each message that is to be sent at once."""
    due = await automatic.keep(conn, [row for row in rows if isinstance(row, Told)])
    return [
        event_of(request, told.at)._replace(causationid=told.cause, traceparent=told.traceparent)
        for told, request in due
    ]


AUTOMATIC: Final[Domain[AutomaticDeps]] = Domain(name="automatic-messages", opened=_opened, rules=(MESSAGE_RULES,))

WORKER: Final[Worker[AutomaticDeps]] = Worker(
    name="automatic-messages",
    reads=("orders", "conversations"),
    types=frozenset({ORDER, REPORT}),
    begins="now",
    domain=AUTOMATIC,
    handle=handle,
    record=record,
    idle=lambda rules: why_idle(rules(MESSAGE_RULES)),
)
