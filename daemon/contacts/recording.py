"""Writes what the contact sync has found: orders and their buyers, how each sync stands, what changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from adapters.postgres import audit_log, contacts, order_marks, orders, whatsapp_checks
from adapters.postgres.audit_log import DAEMON, Logged
from adapters.postgres.contacts import Buyer, Doubt, Meant
from adapters.postgres.order_marks import Coalesced, NotMeant, Syncing, SyncResult, Waiting
from adapters.postgres.orders import Change, OrderRow
from adapters.postgres.pool import Connection
from daemon.bus.outcome import Row
from daemon.contacts.corrections import carried_over
from schemas.envelope import Event, event_id
from schemas.identity import key
from schemas.phone import Phone, line

_UPDATED: Final = "order.updated"


async def record(conn: Connection, rows: Sequence[Row]) -> Sequence[Event]:
    """Write a batch of orders, marks, results and buyers. Returns an `order.moved` for each person who has one order
    less, and an `order.received` for each newer state to which an operator's correction was carried over. Locks people
    before orders. Orders that are stored, or end, show what is known of their numbers on WhatsApp."""
    if shown := [row.order_id for row in rows if isinstance(row, OrderRow | SyncResult)]:
        await whatsapp_checks.hold(conn)
    people = await contacts.remember(conn, [row for row in rows if isinstance(row, Buyer)])
    doubts = {row.phone for row in rows if isinstance(row, Doubt)}
    await contacts.mean(conn, [row for row in rows if isinstance(row, Meant)], locks=doubts)
    if doubts:
        await contacts.forget_written(conn, doubts)
    there = await orders.insert(conn, [row for row in rows if isinstance(row, OrderRow)])
    emitted = await replaced(conn, there, actor=DAEMON, action=_UPDATED) if there else []
    marks = [row for row in rows if isinstance(row, Syncing | SyncResult | Waiting)]
    await order_marks.mark(conn, marks, people)
    await order_marks.leave(conn, [row for row in rows if isinstance(row, NotMeant)])
    shown += await order_marks.end_coalesced(conn, [row for row in rows if isinstance(row, Coalesced)])
    if shown:
        await whatsapp_checks.show(conn, shown)
    return emitted


async def replaced(conn: Connection, rows: Sequence[OrderRow], *, actor: str, action: str) -> list[Event]:
    """Replace stored orders by these newer states of them, and note in the audit log that *actor* did it. Returns the
    events that follow from it."""
    rows, carried = await carried_over(conn, rows)
    changes = await orders.replace(conn, rows)
    await audit_log.add(conn, [_logged(change, actor, action) for change in changes if change.changed])
    followed = [carried[change.event_id] for change in changes if change.event_id in carried]
    return followed + [moved(change) for change in changes if _moved_away(change)]


def _logged(change: Change, actor: str, action: str) -> Logged:
    detail = {"event_id": change.event_id, "fields": change.changed}
    return Logged(actor, action, f"order:{change.order_id}", detail)


def _moved_away(change: Change) -> bool:
    """Whether the order was of another phone line than it is now."""
    return change.old_phone is not None and (change.phone is None or line(change.old_phone) != line(change.phone))


def moved(change: Change) -> Event:
    """Tells the person whose order it was that it is another one's now."""
    assert change.old_phone is not None
    return Event(
        id=event_id("ferryman", "order.moved", change.event_id, change.old_phone),
        type="order.moved",
        source="ferryman",
        subject=key(phone=Phone.parse_e164(change.old_phone)),
        time=change.at,
        data=orjson.dumps({"order_id": change.order_id, "phone": change.old_phone}),
        causationid=change.event_id,
    )
