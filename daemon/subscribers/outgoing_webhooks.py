"""The outgoing-webhooks worker: an event becomes a delivery for each subscriber that wants it.

It calls nobody: the deliveries are rows that the pump (`daemon/subscribers/pump.py`) sends. So a subscriber that is
slow or away holds up neither the bus nor the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.postgres import webhook_deliveries
from adapters.postgres.pool import Connection
from adapters.postgres.subscribers import Wanting
from adapters.postgres.webhook_deliveries import New
from daemon.bus.aside import LARGE_BYTES, in_thread
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.worker import Worker, utc_now
from daemon.subscribers.wiring import SUBSCRIBERS, SubscriberDeps
from schemas.envelope import TYPES, Event
from schemas.subscriptions import OFFERED, body_of, is_wanted

NAME: Final = "outgoing-webhooks"


async def handle(event: Event, deps: SubscriberDeps, turn: Turn) -> Outcome:
    """The deliveries of an event. Raises: Malformed."""
    wanting = [one for one in await deps.wanting(event) if is_wanted(event.type, one.types)]
    if not wanting:
        return Done(skipped="no subscriber")
    if len(event.data) <= LARGE_BYTES:
        return Done(rows=deliveries(event, wanting, event.replayid))
    return Done(rows=await in_thread(lambda: deliveries(event, wanting, event.replayid)))


def deliveries(event: Event, wanting: Sequence[Wanting], replay_id: str) -> tuple[New, ...]:
    """What each of *wanting* is to be told of *event*. Raises: Malformed."""
    bodies = {is_full: body_of(event, full=is_full) for is_full in {one.is_full for one in wanting}}
    return tuple(New(one.id, event.id, replay_id, event.type, event.subject, bodies[one.is_full]) for one in wanting)


async def record(conn: Connection, rows: Sequence[Row]) -> None:
    """Add the deliveries, each once."""
    await webhook_deliveries.add(conn, [row for row in rows if isinstance(row, New)], utc_now())


WORKER: Final[Worker[SubscriberDeps]] = Worker(
    name=NAME,
    reads=tuple(dict.fromkeys(TYPES[name] for name in OFFERED)),
    types=frozenset(OFFERED),
    begins="now",
    domain=SUBSCRIBERS,
    handle=handle,
    record=record,
    on_uncertain="retry",
    lanes=lambda settings: 200,
)
