"""A correction of an order outlives later states of it that say of its buyer what it corrects. What a directory has
told of a contact goes with no order to the contact of another phone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from adapters.postgres import orders
from adapters.postgres.orders import OrderRow, row_of
from adapters.postgres.pool import Connection
from daemon.contacts.states import state_from
from schemas.corrections import START, corrected, corrected_at, corrections_of, own_values, told_of
from schemas.envelope import Event
from schemas.orders import Order, order_from
from schemas.phone import line


async def carried_over(conn: Connection, rows: Sequence[OrderRow]) -> tuple[list[OrderRow], dict[str, Event]]:
    """*rows*, newer states of stored orders, with the corrections that still count; and the events, by their ids, that
    bring those which were corrected here.

    Such an event takes the place of the one that brought the state: that one is in the lane of whom the order names,
    and this one in the lane of whom the operator names. Locks the orders.
    """
    if not rows:
        return [], {}
    stored = await orders.texts_with(conn, START, sorted(row.order_id for row in rows))
    after, events = [], {}
    for row in rows:
        if (text := stored.get(row.order_id)) and (values := _still_counting(text, row.text, row.state[2])):
            at = row.state[2]
            since = {name: said for name, said in corrected_at(text).items() if name in values}
            order, event = state_from(corrected(row.text, values, at, since, told_of(text)), at)
            events[event.id] = event._replace(causationid=row.event_id)
            after.append(row_of(order, event.id, mended=row.mended))
        else:
            after.append(row)
    return after, events


def _still_counting(stored: str, newer: str, at: datetime) -> dict[str, str]:
    """Which of the corrections in *stored* count for *newer*, which arrived at *at*: those of values that are there as
    they were, and of what a directory has told only where the phone line is the same. None, where *newer* is corrected
    itself."""
    if newer.startswith(START):
        return {}
    before, now = own_values(stored), own_values(newer)
    values = {name: value for name, value in corrections_of(stored).items() if before[name] == now[name]}
    told = told_of(stored) & values.keys()
    if not told:
        return values
    buyer, former = (order_from(text.encode(), at) for text in (corrected(newer, values, at), stored))
    return values if of_one_line(buyer, former) else {name: values[name] for name in values.keys() - told}


def of_one_line(one: Order, other: Order) -> bool:
    """Whether two states of an order are of the same phone line."""
    return one.phone is not None and other.phone is not None and line(one.phone.e164) == line(other.phone.e164)
