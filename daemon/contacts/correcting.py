"""Corrects a stored order: what its buyer is called and reached by, in the place of what the order itself says.

The corrected order is a newer state of it. It is stored at once, and its event leaves by the outbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from adapters.postgres.orders import row_of
from adapters.postgres.pool import Connection
from adapters.postgres.stored_orders import StoredState
from daemon.contacts.corrections import of_one_line
from daemon.contacts.recording import replaced
from daemon.contacts.states import state_from
from schemas.corrections import corrected, corrected_at, corrections_of, told_of
from schemas.envelope import Event
from schemas.orders import Order, order_from

ACTION: Final = "order.corrected"

_LATER: Final = timedelta(microseconds=1)


def corrected_state(
    state: StoredState, values: Mapping[str, str], now: datetime, said_at: datetime | None = None
) -> tuple[Order, Event]:
    """The order of *state* with *values* (`phone`, `email`, `name`) in the place of what it says, beside its earlier
    corrections, and the event that brings it. *said_at*: when a directory said the values of the contact of the order's
    phone; None: an operator says them now. What it said goes with no order to the contact of another phone."""
    at = max(now, state.received_at + _LATER)  # also where another host's clock runs ahead
    since = {name: moment for name, moment in corrected_at(state.text).items() if name not in values}
    told = told_of(state.text) - values.keys()
    if said_at is not None:
        since |= dict.fromkeys(values, said_at)
        told |= values.keys()
    every = {**corrections_of(state.text), **values}
    found = state_from(corrected(state.text, every, at, since, told), at)
    if told and "phone" in values and not of_one_line(found[0], order_from(state.text.encode(), state.received_at)):
        kept = {name: value for name, value in every.items() if name not in told}
        return state_from(corrected(state.text, kept, at, since), at)
    return found


async def store(conn: Connection, order: Order, event: Event, actor: str) -> list[Event]:
    """Make *order* the newest state, on behalf of *actor*; returns the events to emit. Locks the order."""
    return [*await replaced(conn, [row_of(order, event.id)], actor=actor, action=ACTION), event]
