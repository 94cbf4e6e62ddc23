"""The contact-sync worker: every order becomes a row, and its buyer a contact in CGB that shows the newest order.

    ""      read the order, keep it ──► wait CGB_SYNC_DELAY_MS
    "sync"  which order does the contact show, and what does it hold ──► nothing to write: done
    "write" one request that creates or updates ──► done

An order that comes again changed replaces its row. Where its phone has changed, `order.moved` lets the former person's
contact, in that person's lane, show the newest order that is left. A state that is not the row's any more is skipped.

The row says `syncing`, and whether the contact existed, before the first write. A create whose outcome is unknown, also
after a crash, starts again with a lookup. It then finds its own contact and does not make a second one.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import TYPE_CHECKING, Final

import orjson
import structlog

from adapters.postgres import audit_log, contacts, order_marks, orders
from adapters.postgres.audit_log import DAEMON, Logged
from adapters.postgres.contacts import Buyer, Doubt
from adapters.postgres.order_marks import Syncing, SyncResult, Waiting
from adapters.postgres.orders import Change, OrderRow, row_of
from adapters.postgres.person_orders import Asked
from adapters.postgres.pool import Connection
from adapters.redis.limits import LONGEST_WAIT_S
from daemon.bus.aside import LARGE_BYTES, in_thread
from daemon.bus.outcome import Done, Later, Outcome, Row, Turn
from daemon.bus.worker import Worker
from daemon.contacts.decisions import LANGUAGES, Create, Keep, Plan, Update, decide, due, emptying
from daemon.contacts.fields import OF_AN_ORDER, contact_fields, digest_of
from daemon.contacts.wiring import CGB, CONTACTS, ContactDeps
from schemas.contacts import FieldValue
from schemas.envelope import Event, event_id
from schemas.errors import FerrymanError, Malformed, NotSent, Permanent, Refused, Transient
from schemas.identity import key
from schemas.orders import Order, is_test_order, order_from, order_id_of
from schemas.phone import Phone, line

if TYPE_CHECKING:
    from adapters.ports import ContactDirectory

log = structlog.get_logger(__name__)

NO_PHONE: Final = "the order has no usable phone"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the lookup found: the memo of step "write". *order*: whose sync it is; None for `order.moved`. *shown*: the
    order that the contact is to show, None where the person has none. *digest*: of the fields that it is to hold.
    *notations*: as PersonOrders has them."""

    order: Order | None
    shown: Order | None
    phone: Phone
    plan: Plan
    digest: bytes | None
    has_whatsapp: bool | None
    took_s: float
    notations: Sequence[str]


async def handle(event: Event, deps: ContactDeps, turn: Turn) -> Outcome:
    """One step of an order's sync; the module's docstring has the steps. Raises what the directory raises, and
    Malformed for a payload whose parts have the wrong type."""
    if turn.step == "write" and isinstance(turn.memo, _Seen):
        return await _write(event, deps, turn, turn.memo)
    if event.type == "order.moved":
        return await _moved(event, deps, turn)
    # Vizi's tests may come without a form, so the id is read before anything else. Searching the body for -TEST
    # first only saves time.
    if b"-TEST" in event.data and is_test_order(order_id_of(event.data) or ""):
        return Done(skipped="test order")
    order = turn.memo if isinstance(turn.memo, Order) else await _read(event.data, event.time)
    if turn.step == "sync" and order.phone is not None:
        if deps.settings.cgb_sync_dry_run:
            names = sorted(contact_fields(order, OF_AN_ORDER))
            log.info("contact.sync_planned", order_id=order.order_id, fields=names)
            return Done(skipped="dry run")
        return await _look_up(event, deps, turn, order, order.phone)
    row = row_of(order, event.id, mended=not event.replayid)
    if not deps.settings.cgb_sync_enabled:
        return Done(rows=(row,), skipped="sync disabled")
    if order.phone is None:
        _count(deps, "cgb_sync_failures")
        failed = SyncResult(order_id=order.order_id, status="failed", at=turn.now, error=NO_PHONE, event_id=event.id)
        return Done(rows=(row, failed), skipped="no phone")
    # the order is stored before any call, so it is there also while CGB is away
    start = due(event.time, deps.settings.cgb_sync_delay_ms, turn.now)
    return Later(start or turn.now, rows=(row,), step="sync", memo=order.brief())


async def _moved(event: Event, deps: ContactDeps, turn: Turn) -> Outcome:
    """An order of this person has become another one's: the contact is to show what is left."""
    if not deps.settings.cgb_sync_enabled or deps.settings.cgb_sync_dry_run:
        return Done(skipped="sync disabled")
    return await _look_up(event, deps, turn, None, Phone.parse_e164(event.json()["phone"]))


async def _read(data: bytes, received_at: datetime) -> Order:
    """The order in *data*; a large one is read in a thread, so that the process goes on. Raises: Malformed."""
    if len(data) <= LARGE_BYTES:
        return order_from(data, received_at)
    return await in_thread(lambda: order_from(data, received_at))


async def _look_up(event: Event, deps: ContactDeps, turn: Turn, order: Order | None, phone: Phone) -> Outcome:
    """Find out what the contact is to show and what it holds. Writes nothing outside."""
    order_id = "" if order is None else order.order_id
    stand = await deps.orders_of(Asked(phone.e164, order_id, whole=bool(event.replayid)))
    if order is not None and stand.event_id not in (None, event.id):
        # this state may have been written, half or in doubt, before the newer one came
        return Done(rows=(Doubt(phone.e164),), skipped="superseded")
    shown = order
    if stand.newest_body is not None and stand.received_at is not None:
        shown = (await _read(stand.newest_body.encode(), stand.received_at)).brief()
    with _measured(deps) as clock:
        known = await _directory(deps).field_names()
        fields = None if shown is None else contact_fields(shown, known)
        digest = None if fields is None else digest_of(line(phone.e164), fields)
        if digest is not None and digest == stand.written and stand.contact_id:
            plan: Plan | None = Keep(stand.contact_id)
            has_whatsapp = None
        else:
            plan = await _plan(deps, shown, phone, stand.notations, known, fields)
            has_whatsapp = await _has_whatsapp(_directory(deps), phone)
    if plan is None:
        return Done(rows=(Doubt(phone.e164),), skipped="no contact")
    seen = _Seen(order, shown, phone, plan, digest, has_whatsapp, clock(), stand.notations)
    if isinstance(plan, Keep):
        action = "unchanged" if shown is order else "skipped"
        return _done(event, deps, turn, seen, plan.contact_id, action, seen.took_s)
    exists = not isinstance(plan, Create)
    rows = () if order is None else (Syncing(order_id, turn.now, exists, event.id),)
    return Later(turn.now, rows=rows, step="write", memo=seen)


async def _plan(
    deps: ContactDeps,
    shown: Order | None,
    phone: Phone,
    notations: Sequence[str],
    known: frozenset[str] | None,
    fields: Mapping[str, FieldValue] | None,
) -> Plan | None:
    """What the contact of *phone* lacks to show *shown* by its *fields*; None: it is not there and has nothing to
    show. The contact may be there under any of *notations*, and then it keeps that number."""
    found = None
    for notation in notations:
        found = found or await _directory(deps).find(Phone.parse_e164(notation))
    if shown is not None and fields is not None:
        return decide(shown, phone, found, fields)
    return None if found is None else emptying(found, known)


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
    with _measured(deps, seen.took_s) as clock:
        contact_id, action = await _apply(deps, seen)
    return _done(event, deps, turn, seen, contact_id, action, clock())


async def _apply(deps: ContactDeps, seen: _Seen) -> tuple[str, str]:
    """Carry the plan out; returns the contact's id and what was done."""
    directory, plan = _directory(deps), seen.plan
    if isinstance(plan, Create):
        try:
            contact_id = await directory.create(plan.draft)
        except Refused:
            # Another client made the contact after our lookup, or the directory showed it late.
            known = await directory.field_names()
            fields = None if seen.shown is None else contact_fields(seen.shown, known)
            again = await _plan(deps, seen.shown, seen.phone, seen.notations, known, fields)
            if again is None or isinstance(again, Create):
                raise
            plan = again
        else:
            deps.metrics.inc("cgb_contacts_created")
            return contact_id, "created"
    if isinstance(plan, Update):
        await directory.update(plan.contact_id, plan.fields)
        deps.metrics.inc("cgb_contacts_updated")
        return plan.contact_id, "updated"
    return plan.contact_id, "unchanged"


def _done(
    event: Event, deps: ContactDeps, turn: Turn, seen: _Seen, contact_id: str, action: str, took_s: float
) -> Done:
    has_whatsapp = seen.has_whatsapp
    status: order_marks.End = "no_whatsapp" if has_whatsapp is False else "synced"
    _count(deps, "cgb_sync_success")
    deps.metrics.observe("cgb_sync_duration", took_s)
    if has_whatsapp is not None:
        deps.metrics.inc("cgb_whatsapp_available" if has_whatsapp else "cgb_whatsapp_unavailable")
    fact = {
        "order_id": None if seen.shown is None else seen.shown.order_id,
        "contact_id": contact_id,
        "action": action,
        "status": status,
        "has_whatsapp": has_whatsapp,
    }
    rows: list[Row] = [_buyer(seen, contact_id, turn)] if seen.shown is not None else [Doubt(seen.phone.e164)]
    if seen.order is not None:
        fact["order_id"] = seen.order.order_id
        result = SyncResult(
            order_id=seen.order.order_id,
            status=status,
            at=turn.now,
            contact_id=contact_id,
            contact_exists=not isinstance(seen.plan, Create),
            has_whatsapp=has_whatsapp,
            event_id=event.id,
        )
        rows.append(result)
    synced = event.emit("contact.synced", 0, fact, subject=key(phone=seen.phone), time=turn.now)
    return Done(rows=tuple(rows), emit=(synced,))


def _buyer(seen: _Seen, contact_id: str, turn: Turn) -> Buyer:
    """What the order that the contact shows says about its buyer."""
    shown = seen.shown
    assert shown is not None
    return Buyer(
        phone=seen.phone,
        age=shown.age,
        synced_at=turn.now,
        name=shown.client_name,
        email=shown.client_email,
        language=LANGUAGES.get(shown.branch or ""),
        cgb_id=contact_id,
        chosen=shown is not seen.order,
        written=seen.digest,
        asker=None if seen.order is None else seen.order.order_id,
    )


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


def buried(event: Event, error: FerrymanError, turn: Turn) -> Sequence[Row]:
    """The rows that store the order of a dead letter as failed; none where the order cannot be read."""
    if event.type == "order.moved":
        return (Doubt(event.json()["phone"]),)
    try:
        order = order_from(event.data, event.time)
    except Malformed:
        return ()
    text = error.full_text or type(error).__name__
    failed = SyncResult(order_id=order.order_id, status="failed", at=turn.now, error=text, event_id=event.id)
    doubt = (Doubt(order.phone.e164),) if order.phone is not None else ()
    return row_of(order, event.id), failed, *doubt


def waits(event: Event, why: str, turn: Turn) -> Sequence[Row]:
    """The row that says why the order waits; none before the order is stored."""
    order = turn.memo.order if isinstance(turn.memo, _Seen) else turn.memo
    return (Waiting(order.order_id, why, event.id),) if isinstance(order, Order) else ()


async def record(conn: Connection, rows: Sequence[Row]) -> Sequence[Event]:
    """Write a batch of orders, marks, results and buyers; returns an `order.moved` for each person who has one order
    less. Locks people before orders."""
    people = await contacts.remember(conn, [row for row in rows if isinstance(row, Buyer)])
    if doubts := {row.phone for row in rows if isinstance(row, Doubt)}:
        await contacts.forget_written(conn, doubts)
    changes = await orders.store(conn, [row for row in rows if isinstance(row, OrderRow)])
    marks = [row for row in rows if isinstance(row, Syncing | SyncResult | Waiting)]
    await order_marks.mark(conn, marks, people)
    await audit_log.add(conn, [_logged(change) for change in changes if change.changed])
    return [_move(change.old_phone, change) for change in changes if change.old_phone and _moved_away(change)]


def _logged(change: Change) -> Logged:
    detail = {"event_id": change.event_id, "fields": change.changed}
    return Logged(DAEMON, "order.updated", f"order:{change.order_id}", detail)


def _moved_away(change: Change) -> bool:
    """Whether the order is of another phone line now, or of none."""
    return change.phone is None or line(change.old_phone or "") != line(change.phone)


def _move(phone: str, change: Change) -> Event:
    """Tells the person with *phone* that the order is another one's now."""
    return Event(
        id=event_id("ferryman", "order.moved", change.event_id, phone),
        type="order.moved",
        source="ferryman",
        subject=key(phone=Phone.parse_e164(phone)),
        time=change.at,
        data=orjson.dumps({"order_id": change.order_id, "phone": phone}),
        causationid=change.event_id,
    )


WORKER: Final[Worker[ContactDeps]] = Worker(
    name="contact-sync",
    reads=("orders",),
    types=frozenset({"order.received", "order.moved"}),
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
    # The longest step asks for the contact (twice, where the answer is too long, and by a search), the account's fields
    # and the number, and after a refusal for the account: six requests, each with its timeout, and its wait for the
    # rate limit.
    deadline_s=lambda s: 6 * (s.cgb_timeout / 1000 + LONGEST_WAIT_S) + 10,
)
