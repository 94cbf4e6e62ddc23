"""The reconciler: by the clock, orders that have no end and that nothing works on are synced again.

An order is left to the bus as long as its event is open there: the bus delivers that by itself, after any outage. What
is left is an order whose sync ended without an end, as those of a dry run or of a sync that was off, and one that the
bus has never had, as one that was put into the table by hand or from a backup.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from adapters.postgres import reconciled, stored_orders
from adapters.postgres.bus import outbox
from adapters.postgres.pool import Connection, Pool
from adapters.postgres.reconciled import Unsettled
from daemon.bus.worker import Duty, Outside
from daemon.contacts.states import state_from
from schemas.envelope import Event
from schemas.errors import Malformed

CONTACT_SYNC: Final = "contact-sync"
PAGE: Final = 500
MOST: Final = 5_000
"""Orders that one round looks at."""

MOST_RUNS: Final = 3
"""So often one state of an order is sent again; then a person has to look."""

_MINUTE_S: Final = 60.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Found:
    """What a round has found: orders without an end. *again*: sent again now. *open*: the bus delivers them. *left*:
    sent MOST_RUNS times without an end, or their text cannot be read. *until*: the last order that was looked at; ""
    where all were."""

    again: int = 0
    open: int = 0
    left: int = 0
    until: str = ""

    @property
    def unsettled(self) -> int:
        """All of them."""
        return self.again + self.open + self.left


async def reconcile(pool: Pool, older_than_s: float, *, after: str = "", dry_run: bool = False) -> Found | None:
    """Look at the orders that nothing has touched for that long, by their ids from *after* on, and send those again
    that nothing works on. None: another process is at it. *dry_run*: only look."""
    found = Found()
    async with pool.acquire() as conn, conn.transaction():
        if not await reconciled.take_turn(conn):
            return None
        replay_id = f"{CONTACT_SYNC}:reconcile-{uuid.uuid4().hex}"
        for _ in range(MOST // PAGE):
            page = await reconciled.without_an_end(conn, older_than_s, after, PAGE)
            chosen = await _choose(conn, await _left_by_the_bus(conn, page, found), found)
            if not dry_run:
                await outbox.send(conn, [event for _, event in chosen], replay_id)
                await reconciled.note(conn, [(order_id, event.id) for order_id, event in chosen], replay_id)
            if len(page) < PAGE:
                found.until = ""
                return found
            after = found.until = page[-1].state.order_id
    return found


async def _left_by_the_bus(conn: Connection, page: Sequence[Unsettled], found: Found) -> list[Unsettled]:
    """Those of *page* whose event is not open on the bus."""
    ids = [one.state.event_id for one in page if one.state.event_id is not None]
    ended = await stored_orders.ended(conn, CONTACT_SYNC, ids)
    open_ids = await reconciled.on_the_bus(conn, ids) - {event_id for event_id, replay_id in ended if not replay_id}
    left = [one for one in page if one.state.event_id not in open_ids]
    found.open += len(page) - len(left)
    return left


async def _choose(conn: Connection, left: Sequence[Unsettled], found: Found) -> list[tuple[str, Event]]:
    """(order id, the event that it is sent again as) of those of *left* that were not sent in vain, nor are under way.
    Counts them all in *found*."""
    sent = [one.sent for one in left if one.sent is not None]
    ended = await stored_orders.ended(conn, CONTACT_SYNC, [event_id for event_id, _ in sent])
    chosen = []
    for one in left:
        event = _event_of(one)
        of_this_state = one.sent is not None and event is not None and one.sent[0] == event.id
        if event is None or (of_this_state and one.sent in ended and one.runs >= MOST_RUNS):
            found.left += 1
        elif of_this_state and one.sent not in ended:
            found.open += 1
        else:
            found.again += 1
            chosen.append((one.state.order_id, event))
    return chosen


def _event_of(one: Unsettled) -> Event | None:
    """The event that brings the order's state; None where its text cannot be read."""
    try:
        _, event = state_from(one.state.text, one.state.received_at, one.state.event_id)
    except Malformed:
        return None
    return event


def duties(outside: Outside) -> Sequence[Duty]:
    """The reconciler of a process. It has nothing to do while the sync is off, or only planned."""
    settings = outside.settings
    if not settings.cgb_sync_enabled or settings.cgb_sync_dry_run or settings.cgb_api_key is None:
        return ()
    every_s = settings.ferryman_reconcile_minutes * _MINUTE_S
    after = ""

    async def act() -> None:
        nonlocal after
        outside.metrics.set("ferryman_sync_untried_seconds", await reconciled.untried_s(outside.pool))
        found = await reconcile(outside.pool, every_s, after=after)
        if found is None:
            return
        after = found.until
        outside.metrics.set("ferryman_orders_unsettled", found.unsettled)
        outside.metrics.inc("ferryman_orders_reconciled_total", n=found.again)
        if found.unsettled:
            tell = log.warning if found.again or found.left else log.info
            tell("orders.reconciled", again=found.again, open=found.open, left=found.left)

    return (Duty("reconcile", act, every_s),)
