"""The contact-sync worker: every order becomes a row, and its buyer a contact in CGB that shows the newest order.

    ""      read the order, keep it ──► wait CGB_SYNC_DELAY_MS
    "sync"  which order does the contact show, and what does it hold ──► nothing to write: done
    "write" one request that creates or updates ──► done

An order that comes again changed replaces its row. Where its phone has changed, `order.moved` lets the former person's
contact, in that person's lane, show the newest order that is left. A state that is not the row's any more is skipped.
`contact.diverged` does the same where the directory has told that it holds something else (worker `contact-changes`).

The row says `syncing`, and whether the contact existed, before the first write. A create whose outcome is unknown, also
after a crash, starts again with a lookup. It then finds its own contact and does not make a second one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from adapters.postgres.contacts import Buyer, Doubt, Meant
from adapters.postgres.order_marks import Coalesced, NotMeant, Syncing, SyncResult, Waiting
from adapters.postgres.orders import row_of
from adapters.postgres.person_orders import Asked
from adapters.redis.limits import LONGEST_WAIT_S
from daemon.accounts import CGB
from daemon.bus.aside import LARGE_BYTES, in_thread
from daemon.bus.outcome import Done, Later, Outcome, Row, Turn
from daemon.bus.worker import Worker
from daemon.contacts.decisions import Create, Keep, Plan, Update, due, written_by
from daemon.contacts.fields import OF_AN_ORDER, contact_fields, digest_of
from daemon.contacts.measuring import count, measured
from daemon.contacts.own_writes import marks_of
from daemon.contacts.recording import record
from daemon.contacts.told import NOTHING, wanted
from daemon.contacts.wiring import CONTACTS, ContactDeps
from daemon.contacts.writing import Applied, Seen, apply, directory_of, plan_of, read_back
from schemas.envelope import Event
from schemas.errors import FerrymanError, Malformed
from schemas.identity import key
from schemas.orders import Order, is_test_order, order_from, order_id_of
from schemas.phone import Phone, aliases, line

if TYPE_CHECKING:
    from daemon.settings.model import Settings

log = structlog.get_logger(__name__)

NO_PHONE: Final = "the order has no usable phone"
NOT_SYNCED: Final = "orders of this branch are not synced: CGB_SYNC_BRANCHES does not name it"


async def handle(event: Event, deps: ContactDeps, turn: Turn) -> Outcome:
    """One step of an order's sync; the module's docstring has the steps. Raises what the directory raises, and
    Malformed for a payload whose parts have the wrong type."""
    if turn.step == "write" and isinstance(turn.memo, Seen):
        return await _write(event, deps, turn, turn.memo)
    if event.type in ("order.moved", "contact.diverged"):
        return await _look_again(event, deps, turn)
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
        if deps.settings.cgb_sync_coalesce and _another_follows(event, turn, deps.settings.cgb_sync_delay_ms):
            # "syncing" from here on, this order may be the one that the contact shows when the other one is synced
            return Done(rows=(Syncing(order.order_id, turn.now, None, event.id),), skipped="coalesced")
        return await _look_up(event, deps, turn, order, order.phone)
    row = row_of(order, event.id, mended=not event.replayid)
    if not deps.settings.cgb_sync_enabled:
        return Done(rows=(row,), skipped="sync disabled")
    if not _of_a_synced_branch(order, deps.settings):
        return Done(rows=(row, NotMeant(order.order_id, NOT_SYNCED, event.id)), skipped="other branch")
    if order.phone is None:
        count(deps, "cgb_sync_failures")
        failed = SyncResult(order_id=order.order_id, status="failed", at=turn.now, error=NO_PHONE, event_id=event.id)
        return Done(rows=(row, failed), skipped="no phone")
    # the order is stored before any call, so it is there also while CGB is away
    start = due(event.time, deps.settings.cgb_sync_delay_ms, turn.now)
    return Later(start or turn.now, rows=(row,), step="sync", memo=order.brief())


def _of_a_synced_branch(order: Order, settings: Settings) -> bool:
    return not settings.cgb_sync_branches or order.branch in settings.cgb_sync_branches


def _another_follows(event: Event, turn: Turn, delay_ms: int) -> bool:
    """Whether another order of this person, which came within the delay, waits for the end of this one. It is sure to
    sync the contact: Vizi's tests and what is delivered again do not count."""
    within = event.time + timedelta(milliseconds=delay_ms)
    return not event.replayid and any(
        other.type == "order.received" and not other.replayid and b"-TEST" not in other.data and other.time <= within
        for other in turn.behind()
    )


async def _look_again(event: Event, deps: ContactDeps, turn: Turn) -> Outcome:
    """An order of this person has become another one's, or the directory has told of other values: the contact is to
    show what it has to now."""
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
    if order is None and stand.newest_id is None and stand.follows:
        return Done(rows=(Doubt(phone.e164),), skipped="an order follows")
    shown = order
    if stand.newest_body is not None and stand.received_at is not None:
        shown = (await _read(stand.newest_body.encode(), stand.received_at)).brief()
    with measured(deps) as clock:
        known = await directory_of(deps).field_names()
        said, fields = NOTHING if shown is None else wanted(shown, phone, stand, known, deps.policy)
        digest = None if fields is None else digest_of(line(phone.e164), fields)
        if digest is not None and digest == stand.written and stand.contact_id:
            plan: Plan | None = Keep(stand.contact_id)
        else:
            plan = await plan_of(deps, phone, stand, said, fields, known)
    if plan is None:
        return Done(rows=(Doubt(phone.e164),), skipped="no contact")
    seen = Seen(order, shown, phone, said, fields, plan, digest, clock(), stand.brief())
    if isinstance(plan, Keep):
        action = "unchanged" if shown is order else "skipped"
        return _done(event, deps, turn, seen, Applied(plan.contact_id, action, True, {}), seen.took_s)
    return Later(turn.now, rows=tuple(_begun(event, deps, turn, seen, plan)), step="write", memo=seen)


def _begun(event: Event, deps: ContactDeps, turn: Turn, seen: Seen, plan: Create | Update) -> Iterator[Row]:
    """What is recorded before the write."""
    if seen.order is not None:
        yield Syncing(seen.order.order_id, turn.now, not isinstance(plan, Create), event.id)
    if own := marks_of(written_by(plan), deps.policy.newest, turn.now):
        yield Meant(seen.phone.e164, own)


async def _write(event: Event, deps: ContactDeps, turn: Turn, seen: Seen) -> Outcome:
    """The one request that changes something; now and then a look at what became of it."""
    with measured(deps, seen.took_s) as clock:
        done = await apply(deps, seen)
        # once more: what was changed there while the request was under way has been written over by it
        own = marks_of(done.fields, deps.policy.newest, turn.now + timedelta(seconds=clock() - seen.took_s))
        if done.action != "unchanged" and deps.sampled():
            await read_back(deps, seen)
    return _done(event, deps, turn, seen, done, clock(), own)


def _done(
    event: Event, deps: ContactDeps, turn: Turn, seen: Seen, applied: Applied, took_s: float, own: Sequence[str] = ()
) -> Done:
    """*own*: marks of what was written."""
    count(deps, "cgb_sync_success")
    deps.metrics.observe("cgb_sync_duration", took_s)
    contact_id, action, there, _ = applied
    fact = {
        "order_id": None if seen.shown is None else seen.shown.order_id,
        "contact_id": contact_id,
        "action": action,
    }
    rows: list[Row] = [_buyer(seen, contact_id, turn, own)] if seen.shown is not None else [Doubt(seen.phone.e164)]
    if seen.order is not None:
        fact["order_id"] = seen.order.order_id
        result = SyncResult(
            order_id=seen.order.order_id,
            status="synced",
            at=turn.now,
            contact_id=contact_id,
            contact_exists=there,
            event_id=event.id,
            told_so=there and isinstance(seen.plan, Create) and not seen.stand.tried,
        )
        rows.append(result)
    if deps.settings.cgb_sync_coalesce and seen.shown is not None:
        asker = "" if seen.order is None else seen.order.order_id
        rows += [Coalesced(notation, asker, turn.now, contact_id) for notation in aliases(seen.phone.e164)]
    synced = event.emit("contact.synced", 0, fact, subject=key(phone=seen.phone), time=turn.now)
    return Done(rows=tuple(rows), emit=(synced,))


def _buyer(seen: Seen, contact_id: str, turn: Turn, own: Sequence[str]) -> Buyer:
    """What the contact says about its buyer now. *own*: marks of what was written to it."""
    shown = seen.shown
    assert shown is not None
    return Buyer(
        phone=seen.phone,
        age=shown.age,
        synced_at=turn.now,
        name=seen.said.name,
        email=seen.said.email,
        language=seen.said.language,
        cgb_id=contact_id,
        chosen=shown is not seen.order,
        written=seen.digest,
        doubt=seen.stand.doubt,
        own=own,
        asker=None if seen.order is None else seen.order.order_id,
    )


def buried(event: Event, error: FerrymanError, turn: Turn) -> Sequence[Row]:
    """The rows that store the order of a dead letter as failed; none where the order cannot be read."""
    if event.type in ("order.moved", "contact.diverged"):
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
    order = turn.memo.order if isinstance(turn.memo, Seen) else turn.memo
    tried_at = turn.now if turn.failed else None
    return (Waiting(order.order_id, why, event.id, tried_at),) if isinstance(order, Order) else ()


WORKER: Final[Worker[ContactDeps]] = Worker(
    name="contact-sync",
    reads=("orders",),
    types=frozenset({"order.received", "order.moved", "contact.diverged"}),
    begins="everything",
    domain=CONTACTS,
    handle=handle,
    record=record,
    buried=buried,
    waits=waits,
    channels=(CGB,),
    bulk=frozenset({"contact.diverged"}),
    on_uncertain="retry",
    lanes=lambda s: s.cgb_sync_concurrency,
    attempts=lambda s: max(1, s.cgb_retry_attempts),
    off=lambda s: None if s.cgb_api_key or not s.cgb_sync_enabled else "CGB_API_KEY is not set",
    # The longest step asks for the contact (twice, where the answer is too long, and by a search) and the account's
    # fields, and after a refusal for the account: five requests, each with its timeout and its wait for a place.
    deadline_s=lambda s: 5 * (s.cgb_timeout / 1000 + LONGEST_WAIT_S) + 10,
)
