"""The contact-changes worker: what the directory (CGB) tells of a contact is compared with what the contact is to hold.

What is new is kept in `told_fields`. The owner of the field (fields.toml) decides whether it is taken, or the orders'
value is written again. Either way `contact.diverged` lets contact-sync look at the contact, in the person's lane: so a
sync that was under way meanwhile does no harm. A contact whose person has no order here is only remembered.

Whoever writes a message, by whatever system, has a contact from then on, with the identities that the message shows.
So has whoever the CRM (Chatwoot) tells of; what it holds of them is compared with nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from adapters.postgres import contacts, people, refreshed, stored_orders, told_fields
from adapters.postgres.people import Met
from adapters.postgres.person_orders import Asked, PersonOrders
from adapters.postgres.pool import Connection
from adapters.postgres.told_fields import TakenPerson, ToldRow
from daemon.bus.aside import LARGE_BYTES, in_thread
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.worker import Worker
from daemon.contacts.change_rules import News, news_of
from daemon.contacts.correcting import corrected_state, store
from daemon.contacts.fields import WRITTEN, fields_of
from daemon.contacts.told import CORRECTED, EMAIL, LANGUAGE, NAME, never, said_by
from daemon.contacts.wiring import CONTACTS, ContactDeps
from daemon.contacts.writers import CRM, Wrote, entered, wrote
from schemas.contact_changes import ContactChange, change_from
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.identity import Identity, IdentityKind, email_identity, key
from schemas.orders import Order, order_from
from schemas.phone import Phone, line
from schemas.told import is_test_contact

KINDS: Final = {"cgb": IdentityKind.CGB}
"""Which identity a system's id of a contact is."""


@dataclass(frozen=True, slots=True, repr=False)
class Changed:
    """What the event *event_id* tells of a person, as seen at *now*. *phone*: None where it is not known. *order_id*:
    of the person's newest order, None where there is none."""

    change: ContactChange
    event_id: str
    phone: Phone | None
    news: Sequence[News]
    now: datetime
    order_id: str | None = None


async def handle(event: Event, deps: ContactDeps, turn: Turn) -> Outcome:
    """Compare, and decide. Raises Malformed for a payload that was not understood."""
    if event.type == "message.received":
        writer = wrote(event)
        return Done(skipped="shows nobody") if writer is None else Done(rows=(writer,))
    change = change_from(event)
    if is_test_contact(change.contact_id):
        return Done(skipped="test contact")
    if change.system == CRM:
        return Done(rows=(entered(change),))
    if change.system not in KINDS:
        raise Malformed("the event's system is not known")
    phone = change.phone or await deps.phone_of(change.contact_id)
    if phone is None:
        return Done(rows=(Changed(change, event.id, None, news_of(change, {}, never, {}, (), deps.policy), turn.now),))
    stand = await deps.orders_of(Asked(phone.e164, whole=True))
    order = await _newest(stand)
    fields = {} if order is None else fields_of(order, phone, stand.orders, WRITTEN)
    said_at = never if order is None else said_by(order)
    news = news_of(change, fields, said_at, stand.told, stand.own, deps.policy)
    rows = (Changed(change, event.id, phone, news, turn.now, stand.newest_id),)
    if not news:
        return Done(rows=rows, skipped="known already" if change.fields else "tells nothing")
    if lost := sum(not one.taken for one in news):
        deps.metrics.inc("ferryman_field_conflicts_total", n=lost)
    if order is None:
        return Done(rows=rows)
    diverged = event.emit("contact.diverged", 0, {"phone": phone.e164}, subject=key(phone=phone), time=turn.now)
    return Done(rows=rows, emit=(diverged,))


async def _newest(stand: PersonOrders) -> Order | None:
    if stand.newest_body is None or stand.received_at is None:
        return None
    text, received_at = stand.newest_body.encode(), stand.received_at
    if len(text) <= LARGE_BYTES:
        return order_from(text, received_at)
    return await in_thread(lambda: order_from(text, received_at))


async def record(conn: Connection, rows: Sequence[Row]) -> Sequence[Event]:
    """Write a batch of changes, and who has written messages; returns the events of the orders that say now what was
    told. Locks people before their fields, and these before orders."""
    changed = [row for row in rows if isinstance(row, Changed)]
    writers = [row for row in rows if isinstance(row, Wrote)]
    seen = [Met(_identities(row), row.change.system) for row in changed]
    met = await people.meet(conn, [*seen, *(Met(row.identities, row.system) for row in writers)])
    named = {contact: row.name for row, contact in zip(writers, met[len(seen) :], strict=True) if contact and row.name}
    await told_fields.call(conn, named)
    met = met[: len(seen)]
    taken = [_person(row, contact) for row, contact in zip(changed, met, strict=True) if contact is not None]
    await told_fields.take(conn, [person for person in taken if person.name or person.email or person.language])
    if told_of := {row.phone.e164 for row in changed if row.phone is not None}:
        await refreshed.seen(conn, sorted(told_of))
    if doubts := {row.phone.e164 for row in changed if row.phone is not None and row.news}:
        await contacts.forget_written(conn, doubts)
    await told_fields.store(conn, [_row(row, row.phone, one) for row in changed if row.phone for one in row.news])
    emitted: list[Event] = []
    for row in sorted(changed, key=lambda row: (row.order_id or "", row.change.at, row.event_id)):
        emitted += await _correct(conn, row)
    return emitted


async def _correct(conn: Connection, row: Changed) -> Sequence[Event]:
    """Let the person's newest order say what was taken of its buyer; it counts until the order says something else."""
    values = {CORRECTED[n.field]: n.value for n in row.news if n.taken and n.value and n.field in CORRECTED}
    if row.phone is None or row.order_id is None or not values:
        return ()
    state = await stored_orders.locked(conn, row.order_id)
    if state is None or not state.text:
        return ()
    order = order_from(state.text.encode(), state.received_at)
    says = {"name": order.client_name, "email": order.client_email}
    owners = {CORRECTED[n.field]: n.owner for n in row.news if n.field in CORRECTED}
    late = {name for name, at in (order.corrected_at or ()) if at > row.change.at and owners.get(name) != "cgb"}
    values = {name: value for name, value in values.items() if value != says[name] and name not in late}
    if not values or order.phone is None or line(order.phone.e164) != line(row.phone.e164):
        return ()
    return await store(conn, *corrected_state(state, values, row.now, row.change.at), actor=row.change.system)


def _identities(row: Changed) -> list[Identity]:
    identities = [Identity(KINDS[row.change.system], row.change.contact_id)]
    if row.phone is not None:
        identities.append(Identity(IdentityKind.PHONE, row.phone.e164))
    identities += [email_identity(one.value) for one in row.news if one.field == EMAIL and one.taken and one.value]
    return identities


def _person(row: Changed, contact: UUID) -> TakenPerson:
    taken = {one.field: one for one in row.news if one.taken and one.value}
    said = {name: taken[name].value if name in taken else None for name in (NAME, EMAIL, LANGUAGE)}
    return TakenPerson(
        contact=contact,
        at=row.change.at,
        name=said[NAME],
        email=said[EMAIL],
        language=said[LANGUAGE],
        always=any(one.owner == "cgb" for one in taken.values()),
    )


def _row(row: Changed, phone: Phone, news: News) -> ToldRow:
    return ToldRow(
        line=line(phone.e164),
        field=news.field,
        value=news.value,
        at=row.change.at,
        event_id=row.event_id,
        ours=None if news.ours is None else str(news.ours),
        owner=news.owner,
        taken=news.taken,
    )


WORKER: Final[Worker[ContactDeps]] = Worker(
    name="contact-changes",
    reads=("contacts", "messages"),
    types=frozenset({"contact.changed", "message.received"}),
    begins="everything",
    domain=CONTACTS,
    handle=handle,
    record=record,
)
