"""The contact-sync worker: every order becomes a row, and its buyer a contact in CGB with the newest order's fields.

    ""      read the order, keep it ──► wait CGB_SYNC_DELAY_MS
    "sync"  look up the contact, its fields, the newest order ──► nothing to write: done
    "write" one request that creates or updates ──► done

The row says `syncing`, and whether the contact existed, before the first write. A create whose outcome is unknown, also
after a crash, starts again with a lookup. It then finds its own contact and does not make a second one.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final

import structlog

from adapters.postgres import contacts, orders
from adapters.postgres.contacts import Buyer
from adapters.postgres.orders import OrderRow, Syncing, SyncResult, Waiting, row_of
from adapters.postgres.pool import Connection
from adapters.redis.limits import LONGEST_WAIT_S
from daemon.bus.aside import LARGE_BYTES, in_thread
from daemon.bus.outcome import Done, Later, Outcome, Row, Turn
from daemon.bus.worker import Worker
from daemon.contacts.decisions import LANGUAGES, Create, Keep, Outdated, Plan, Update, decide, due
from daemon.contacts.wiring import CGB, CONTACTS, ContactDeps
from schemas.envelope import Event
from schemas.errors import FerrymanError, Malformed, NotSent, Permanent, Refused, Transient
from schemas.orders import Order, is_test_order, order_from, order_id_of
from schemas.phone import Phone

if TYPE_CHECKING:
    from adapters.ports import ContactDirectory

log = structlog.get_logger(__name__)

NO_PHONE: Final = "the order has no usable phone"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the lookup found: the memo of step "write"."""

    order: Order
    phone: Phone
    plan: Plan
    has_whatsapp: bool | None
    took_s: float


async def handle(event: Event, deps: ContactDeps, turn: Turn) -> Outcome:
    """One step of an order's sync; the module's docstring has the steps. Raises what the directory raises, and
    Malformed for a payload whose parts have the wrong type."""
    if turn.step == "write" and isinstance(turn.memo, _Seen):
        return await _write(event, deps, turn, turn.memo)
    # Vizi's tests may come without a form, so the id is read before anything else. Searching the body for -TEST
    # first only saves time.
    if b"-TEST" in event.data and is_test_order(order_id_of(event.data) or ""):
        return Done(skipped="test order")
    order = turn.memo if isinstance(turn.memo, Order) else await _order(event)
    if not deps.settings.cgb_sync_enabled:
        return Done(rows=(row_of(order),), skipped="sync disabled")
    if order.phone is None:
        _count(deps, "cgb_sync_failures")
        failed = SyncResult(order_id=order.order_id, status="failed", at=turn.now, error=NO_PHONE)
        return Done(rows=(row_of(order), failed), skipped="no phone")
    if turn.step == "":  # the order is stored before any call, so it is there also while CGB is away
        start = due(event.time, deps.settings.cgb_sync_delay_ms, turn.now)
        return Later(start or turn.now, rows=(row_of(order),), step="sync", memo=order.brief())
    return await _look_up(event, deps, turn, order, order.phone)


async def _order(event: Event) -> Order:
    """The order of *event*; a large one is read in a thread, so that the process goes on. Raises: Malformed."""
    if len(event.data) <= LARGE_BYTES:
        return order_from(event.data, event.time)
    return await in_thread(lambda: order_from(event.data, event.time))


async def _look_up(event: Event, deps: ContactDeps, turn: Turn, order: Order, phone: Phone) -> Outcome:
    """Look the contact up and decide. Writes nothing outside."""
    directory = _directory(deps)
    if deps.settings.cgb_sync_dry_run:
        plan = await _plan(directory, deps, order, phone)
        return Done(skipped=f"dry run: would {_planned(order, plan)}")
    with _measured(deps) as clock:
        plan = await _plan(directory, deps, order, phone)
        has_whatsapp = await _has_whatsapp(directory, phone)
    seen = _Seen(order, phone, plan, has_whatsapp, clock())
    exists = not isinstance(plan, Create)
    match plan:
        case Keep(contact_id):
            return _done(event, deps, turn, seen, contact_id, "unchanged")
        case Outdated(contact_id):
            return _done(event, deps, turn, seen, contact_id, "skipped")
    return Later(turn.now, rows=(Syncing(order.order_id, turn.now, exists),), step="write", memo=seen)


async def _plan(directory: ContactDirectory, deps: ContactDeps, order: Order, phone: Phone) -> Plan:
    known = await directory.field_names()
    newest = await deps.newest_order(phone.e164)
    return decide(order, phone, await directory.find(phone), newest, known)


async def _has_whatsapp(directory: ContactDirectory, phone: Phone) -> bool | None:
    """Whether the directory has *phone* on WhatsApp, None where it does not say. A directory that refuses the question
    for good must not fail the sync."""
    try:
        return await directory.has_whatsapp(phone)
    except Permanent as exc:
        log.warning("contact.whatsapp_unknown", error=type(exc).__name__)
        return None


async def _write(event: Event, deps: ContactDeps, turn: Turn, seen: _Seen) -> Outcome:
    """The one request that changes something."""
    directory = _directory(deps)
    with _measured(deps, seen.took_s) as clock:
        contact_id, action = await _apply(directory, deps, seen)
    done = _Seen(seen.order, seen.phone, seen.plan, seen.has_whatsapp, clock())
    return _done(event, deps, turn, done, contact_id, action)


async def _apply(directory: ContactDirectory, deps: ContactDeps, seen: _Seen) -> tuple[str, str]:
    plan = seen.plan
    if isinstance(plan, Create):
        try:
            contact_id = await directory.create(plan.draft)
        except Refused:
            # Another client made the contact after our lookup, or the directory showed it late.
            plan = await _plan(directory, deps, seen.order, seen.phone)
            if isinstance(plan, Create):
                raise
        else:
            deps.metrics.inc("cgb_contacts_created")
            return contact_id, "created"
    if isinstance(plan, Update):
        await directory.update(plan.contact_id, plan.fields)
        deps.metrics.inc("cgb_contacts_updated")
        return plan.contact_id, "updated"
    return plan.contact_id, "skipped" if isinstance(plan, Outdated) else "unchanged"


def _done(event: Event, deps: ContactDeps, turn: Turn, seen: _Seen, contact_id: str, action: str) -> Done:
    order, has_whatsapp = seen.order, seen.has_whatsapp
    status: orders.End = "no_whatsapp" if has_whatsapp is False else "synced"
    _count(deps, "cgb_sync_success")
    deps.metrics.observe("cgb_sync_duration", seen.took_s)
    if has_whatsapp is not None:
        deps.metrics.inc("cgb_whatsapp_available" if has_whatsapp else "cgb_whatsapp_unavailable")
    result = SyncResult(
        order_id=order.order_id,
        status=status,
        at=turn.now,
        contact_id=contact_id,
        contact_exists=not isinstance(seen.plan, Create),
        has_whatsapp=has_whatsapp,
    )
    buyer = Buyer(
        phone=seen.phone,
        age=order.age,
        synced_at=turn.now,
        name=order.client_name,
        email=order.client_email,
        language=LANGUAGES.get(order.branch or ""),
        cgb_id=contact_id,
    )
    fact = {
        "order_id": order.order_id,
        "contact_id": contact_id,
        "action": action,
        "status": status,
        "has_whatsapp": has_whatsapp,
    }
    synced = event.emit("contact.synced", 0, fact, subject=seen.phone.e164, time=turn.now)
    return Done(rows=(result, buyer), emit=(synced,))


def _directory(deps: ContactDeps) -> ContactDirectory:
    assert deps.directory is not None, "the worker is off without a directory"
    return deps.directory


@contextmanager
def _measured(deps: ContactDeps, before_s: float = 0.0) -> Iterator[_Clock]:
    """Measures one attempt: yields its clock, and counts it with its duration where it fails, or is cut off at its
    deadline. Where we sent nothing, or our own rate limit had no place, it has not ended: it is begun again."""
    clock = _Clock(before_s)
    try:
        yield clock
    except (FerrymanError, CancelledError) as exc:
        of_our_own_limit = isinstance(exc, Transient) and exc.limited and exc.channel is None
        if not isinstance(exc, NotSent) and not of_our_own_limit:
            _count(deps, "cgb_sync_failures")
            deps.metrics.observe("cgb_sync_duration", clock())
        raise


def _count(deps: ContactDeps, outcome: str) -> None:
    """Count an attempt once, when it ends: `cgb_sync_total` is the sum of successes and failures."""
    deps.metrics.inc("cgb_sync_total")
    deps.metrics.inc(outcome)


class _Clock:
    """Seconds spent on calls so far, those of earlier steps included, without the time in the lane."""

    def __init__(self, before_s: float) -> None:
        self._start = perf_counter() - before_s

    def __call__(self) -> float:
        return perf_counter() - self._start


def _planned(order: Order, plan: Plan) -> str:
    """What a real run would do, in one word; logs it with the names of the fields."""
    match plan:
        case Create(draft):
            would, names = "create", sorted(draft.fields)
        case Update(_, fields):
            would, names = "update", sorted(fields)
        case _:
            would, names = "leave", []
    log.info("contact.sync_planned", order_id=order.order_id, would=would, fields=names)
    return would


def buried(event: Event, error: FerrymanError, turn: Turn) -> Sequence[Row]:
    """The rows that store the order of a dead letter as failed; none where the order cannot be read."""
    try:
        order = order_from(event.data, event.time)
    except Malformed:
        return ()
    text = error.full_text or type(error).__name__
    return row_of(order), SyncResult(order_id=order.order_id, status="failed", at=turn.now, error=text)


def waits(event: Event, why: str, turn: Turn) -> Sequence[Row]:
    """The row that says why the order waits; none before the order is stored."""
    order = turn.memo.order if isinstance(turn.memo, _Seen) else turn.memo
    return (Waiting(order.order_id, why),) if isinstance(order, Order) else ()


async def record(conn: Connection, rows: Sequence[Row]) -> None:
    """Write a batch of orders, marks, results and buyers. Locks people before orders."""
    people = await contacts.remember(conn, [row for row in rows if isinstance(row, Buyer)])
    await orders.store(conn, [row for row in rows if isinstance(row, OrderRow)])
    await orders.mark(conn, [row for row in rows if isinstance(row, Syncing | SyncResult | Waiting)], people)


WORKER: Final[Worker[ContactDeps]] = Worker(
    name="contact-sync",
    reads=("orders",),
    types=frozenset({"order.received"}),
    begins="everything",
    domain=CONTACTS,
    handle=handle,
    record=record,
    buried=buried,
    waits=waits,
    channels=(CGB,),
    on_uncertain="retry",
    lanes=lambda s: s.cgb_sync_concurrency,
    attempts=lambda s: max(1, s.cgb_retry_attempts),
    off=lambda s: None if s.cgb_api_key or not s.cgb_sync_enabled else "CGB_API_KEY is not set",
    # The longest step asks for the contact, the account's fields and the number, and after a refusal for the account:
    # four requests, each with its timeout, and its wait for the rate limit.
    deadline_s=lambda s: 4 * (s.cgb_timeout / 1000 + LONGEST_WAIT_S) + 10,
)
