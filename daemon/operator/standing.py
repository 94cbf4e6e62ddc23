"""Where the order of an event stands, and what the event waits behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from adapters.postgres.operator import behind, orders, trail
from adapters.postgres.operator.orders import OrderStanding
from adapters.postgres.pool import Pool
from daemon.bus.worker import AnyWorker
from daemon.operator.trail import EventTrail
from daemon.telemetry.redaction import redact_text
from schemas.errors import Malformed
from schemas.orders import order_id_of

PAGE: Final = 100
"""Events whose data are held at once."""


@dataclass(frozen=True, slots=True)
class Standing:
    """*order_id*: of the order that the event is about. *order*: its row, None where there is none. *behind*: worker ->
    the id of the earlier event of the same key that it has not ended with, and that this event waits for."""

    order_id: str | None
    order: OrderStanding | None
    behind: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        order = None if self.order is None else order_document(self.order)
        return {"order_id": self.order_id, "order": order, "behind": dict(self.behind)}


def order_document(order: OrderStanding) -> dict[str, Any]:
    """*order* as JSON, its reason redacted: what the other side wrote is not ours to trust."""
    return asdict(order) | {"reason": None if order.reason is None else redact_text(order.reason)}


async def standing(pool: Pool, workers: Sequence[AnyWorker], found: EventTrail) -> Standing:
    """Where the event of *found* stands."""
    event = found.event
    order_id = order_of(event.data)
    rows = {} if order_id is None else await orders.standings(pool, [order_id])
    waits = {}
    for worker in workers:
        if worker.name in found.open:
            first = await behind.first_open(pool, worker.name, sorted(worker.types), event.subject, event.id)
            if first is not None:
                waits[worker.name] = first
    return Standing(order_id, rows.get(order_id or ""), waits)


def order_of(data: bytes) -> str | None:
    """The id of the order that an event with *data* is about: of a webhook, or of a fact about an order."""
    try:
        return order_id_of(data) or _told(orjson.loads(data).get("order_id"))
    except (Malformed, orjson.JSONDecodeError):
        return None


def _told(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


async def with_orders(pool: Pool, listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """These documents of events, each with the id of the order that it is about, null where it is about none."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(listed), PAGE):
        page = listed[start : start + PAGE]
        data = await trail.data_of(pool, [one["id"] for one in page])
        found += [one | {"order_id": order_of(data.get(one["id"], b""))} for one in page]
    return found
