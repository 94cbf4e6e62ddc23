"""The whatsapp-validation worker: learns whether the number of an order is on WhatsApp, and keeps the answer.

    order.received      known ──► nothing to do
                        the rules of numbering say no ──► no, without a call
                        the checkers that are configured, in their order ──► yes, no, or not known
    message.received    yes
    delivery.updated    delivered or read: yes; failed with Meta's error 131026: no

It begins with what arrives once it is there. It reaches no person, yet every question costs a place within a rate
limit, and masses of them can cost a Whapi account: what is wanted of older orders is asked by `ferryman validate`.

A crash between a question and its commit asks once more, and does nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.postgres import whatsapp_checks
from adapters.postgres.pool import Connection
from adapters.redis.limits import LONGEST_WAIT_S
from daemon.accounts import CGB, TIMEOUT_S, WHAPI
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.worker import Worker
from daemon.contacts.checking import find_out
from daemon.contacts.validation import is_news, told_by
from daemon.contacts.wiring import CONTACTS, ContactDeps
from schemas.envelope import Event
from schemas.identity import key
from schemas.orders import is_test_order, order_id_of
from schemas.phone import Phone
from schemas.whatsapp import Evidence

_MOST_NOTATIONS: Final = 2


async def handle(event: Event, deps: ContactDeps, turn: Turn) -> Outcome:
    """Find out, and keep what is new. Raises what the checkers raise, and Malformed."""
    if event.type != "order.received":
        told = told_by(event, deps.terms)
        if told is None:
            return Done(skipped="tells nothing")
        return _learned(event, deps, turn, await deps.checks_of(told.phone), told)
    if b"-TEST" in event.data and is_test_order(order_id_of(event.data) or ""):
        return Done(skipped="test order")
    if not event.subject.startswith("+"):
        return Done(skipped="no phone")
    phone = Phone.parse_e164(event.subject)  # one notation of the line: all of them are asked for, and kept
    known = await deps.checks_of(phone)
    if known is not None and known.answer(turn.now) is not None:
        return Done(skipped="known")
    found = await find_out(deps.checkers, deps.terms, phone, known, turn.now)
    return Done(skipped="not known") if found is None else _learned(event, deps, turn, known, found)


def _learned(event: Event, deps: ContactDeps, turn: Turn, known: Evidence | None, told: Evidence) -> Done:
    """Keep *told*; where it gives another answer than what is *known*, count and announce it."""
    if not is_news(known, told, turn.now):
        return Done(rows=(told,))
    deps.metrics.inc("cgb_whatsapp_available" if told.has_whatsapp else "cgb_whatsapp_unavailable")
    validated = event.emit("contact.validated", 0, fact(told), subject=key(phone=told.phone), time=turn.now)
    return Done(rows=(told,), emit=(validated,))


def fact(told: Evidence) -> dict[str, object]:
    """The data of `contact.validated`."""
    return {
        "phone": told.phone.e164,
        "has_whatsapp": told.has_whatsapp,
        "source": told.source,
        "checked_at": told.at.isoformat(),
        "expires_at": told.expires_at.isoformat(),
    }


async def record(conn: Connection, rows: Sequence[Row]) -> None:
    """Keep a batch of evidence, and let the orders of those numbers show what is new."""
    await whatsapp_checks.keep(conn, [row for row in rows if isinstance(row, Evidence)])


WORKER: Final[Worker[ContactDeps]] = Worker(
    name="whatsapp-validation",
    reads=("orders", "messages", "deliveries"),
    types=frozenset({"order.received", "message.received", "delivery.updated"}),
    begins="now",
    domain=CONTACTS,
    handle=handle,
    record=record,
    channels=(CGB, WHAPI),
    on_uncertain="retry",
    # Each notation of the line is asked of each checker, of CGB twice where the answer is too long, and with a look.
    deadline_s=lambda s: (
        _MOST_NOTATIONS * 3 * (s.cgb_timeout / 1000 + LONGEST_WAIT_S)
        + _MOST_NOTATIONS * 2 * (TIMEOUT_S + LONGEST_WAIT_S)
        + 10
    ),
)
