"""The event that brings a state of an order, made from the state itself."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

from schemas.envelope import Event, event_id
from schemas.identity import key
from schemas.orders import Order, order_from


def state_from(text: str, at: datetime, known_id: str | None = None) -> tuple[Order, Event]:
    """The order that *text*, which arrived at *at*, tells of, and the event that brings it. *known_id*: of that event,
    where it is known; else it is derived from the text. Raises: Malformed."""
    data = text.encode()
    order = order_from(data, at)
    event = Event(
        id=known_id or event_id("orders", order.order_id, state=sha256(data).digest()),
        type="order.received",
        source="orders",
        subject=key(phone=order.phone, email=order.client_email, order_id=order.order_id),
        time=at,
        data=data,
    )
    return order, event
