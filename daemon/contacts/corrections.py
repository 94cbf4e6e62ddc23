"""An operator's correction of an order outlives later states of it that say of its buyer what it corrects."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.postgres import orders
from adapters.postgres.orders import OrderRow, row_of
from adapters.postgres.pool import Connection
from daemon.contacts.states import state_from
from schemas.corrections import START, corrected, corrected_at, corrections_of, own_values
from schemas.envelope import Event


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
        if (text := stored.get(row.order_id)) and (values := _still_counting(text, row.text)):
            at = row.state[2]
            since = {name: said for name, said in corrected_at(text).items() if name in values}
            order, event = state_from(corrected(row.text, values, at, since), at)
            events[event.id] = event._replace(causationid=row.event_id)
            after.append(row_of(order, event.id, mended=row.mended))
        else:
            after.append(row)
    return after, events


def _still_counting(stored: str, newer: str) -> dict[str, str]:
    """Which of the corrections in *stored* count for *newer*: those of values that are there as they were. None, where
    *newer* is corrected itself."""
    if newer.startswith(START):
        return {}
    before, now = own_values(stored), own_values(newer)
    return {name: value for name, value in corrections_of(stored).items() if before[name] == now[name]}
