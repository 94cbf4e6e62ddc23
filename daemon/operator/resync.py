"""Orders synced again, because an operator asks for it: one, those that have failed, or many.

Each order is delivered to the contact sync as its newest state, a few at a time: the next one when one has ended. An
order with an open dead letter is sent again as that letter, so the letter is settled with it. The calls take their turn
at the rate limit behind those of live orders.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from adapters.postgres import stored_orders
from adapters.postgres.contacts import forget_written
from adapters.postgres.operator import dead_letters, sync_runs
from adapters.postgres.operator.sync_runs import SyncRun
from adapters.postgres.pool import Pool
from adapters.postgres.stored_orders import OrderFilter, StoredState
from adapters.redis.streams import Streams
from daemon.bus.publisher import publish
from daemon.contacts.states import state_from
from daemon.contacts.sync import WORKER
from schemas.errors import Malformed

PAGE: Final = 200
POLL_S: Final = 0.2
STILL_S: Final = 20.0
"""When nothing has ended for so long, the operator is told."""

_MINUTE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a sync would deliver. *without_phone*: orders that fit and have no usable phone; they are left out.
    *goes_on*: the interrupted run that this one continues."""

    chosen: OrderFilter
    total: int
    without_phone: int
    goes_on: SyncRun | None


@dataclass(slots=True)
class Told:
    """What a run tells while it goes on. *sent*, *ended*: orders, with those of the run that it continues. *outcomes*:
    how many ended how. *unreadable*: orders whose text cannot be read any more. *still*: nothing ends."""

    total: int
    sent: int
    ended: int
    outcomes: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    still: bool = False


async def make_plan(pool: Pool, wanted: OrderFilter) -> SyncPlan:
    """Count what would be delivered."""
    chosen = OrderFilter(**{name: getattr(wanted, name) for name in OrderFilter.__slots__} | {"with_phone": True})
    without = OrderFilter(**{name: getattr(wanted, name) for name in OrderFilter.__slots__} | {"with_phone": False})
    return SyncPlan(
        chosen,
        await stored_orders.count(pool, chosen),
        await stored_orders.count(pool, without),
        await sync_runs.unfinished(pool, chosen),
    )


async def run(
    pool: Pool,
    bus: Streams,
    plan: SyncPlan,
    operator: str,
    report: Callable[[Told], None],
    *,
    at_once: int,
    per_minute: float | None,
) -> Told:
    """Deliver what *plan* says, *at_once* orders at a time, and wait until all have ended. *per_minute*: how many are
    begun in a minute at most. *operator*: the person, for the record."""
    mine = plan.goes_on or SyncRun(f"{WORKER.name}:sync-{uuid.uuid4().hex}", "", plan.total, 0)
    if plan.goes_on is None:
        await sync_runs.begin(pool, mine, plan.chosen, operator)
    told = Told(mine.total, mine.sent, mine.sent)
    flight = _Flight(pool, told, report)
    pace = _Pace(per_minute)
    async for state in _states(pool, plan.chosen, mine.cursor):
        await flight.room(at_once)
        await pace.turn()
        await _send(pool, bus, state, mine.id, operator, flight)
        told.sent += 1
        await sync_runs.advance(pool, mine.id, state.order_id, told.sent)
    await flight.room(1)
    await sync_runs.finish(pool, mine.id)
    return told


async def forget(pool: Pool, phone: str) -> None:
    """What the contact of *phone* (E.164) holds is not known any more: the next sync looks, also where nothing has
    changed here."""
    async with pool.acquire() as conn:
        await forget_written(conn, [phone])


async def _states(pool: Pool, chosen: OrderFilter, after: str) -> AsyncIterator[StoredState]:
    while page := await stored_orders.page(pool, chosen, after, PAGE):
        for state in page:
            yield state
        after = page[-1].order_id


async def _send(pool: Pool, bus: Streams, state: StoredState, run_id: str, operator: str, flight: _Flight) -> None:
    """Deliver one order, as its dead letter where it has an open one."""
    if state.event_id is not None:
        async with pool.acquire() as conn, conn.transaction():
            letters = await stored_orders.open_letters(conn, WORKER.name, [state.event_id])
            number, replay_id = letters.get(state.event_id, (None, ""))
            if number is not None and await dead_letters.retry(conn, [number], operator):
                flight.add(state.event_id, replay_id)
                return
    try:
        _, event = state_from(state.text, state.received_at, state.event_id)
    except Malformed:
        flight.unreadable()
        return
    await publish(pool, bus, [event._replace(replayid=run_id)])
    flight.add(event.id, run_id)


class _Flight:
    """The orders that were delivered and have not ended."""

    def __init__(self, pool: Pool, told: Told, report: Callable[[Told], None]) -> None:
        self._pool = pool
        self._told = told
        self._report = report
        self._open: set[tuple[str, str]] = set()

    def add(self, event_id: str, replay_id: str) -> None:
        """An order was delivered as this event."""
        self._open.add((event_id, replay_id))

    def unreadable(self) -> None:
        """An order's text cannot be read."""
        self._told.unreadable += 1
        self._told.ended += 1

    async def room(self, most: int) -> None:
        """Return when fewer than *most* are open."""
        since = time.monotonic()
        while True:
            if self._open and await self._look():
                since = time.monotonic()
            self._told.still = time.monotonic() - since > STILL_S
            self._report(self._told)
            if len(self._open) < most:
                return
            await asyncio.sleep(POLL_S)

    async def _look(self) -> bool:
        """Take out what has ended; whether anything has."""
        ended = await stored_orders.ended(self._pool, WORKER.name, [event_id for event_id, _ in self._open])
        found = self._open & ended.keys()
        self._open -= found
        self._told.ended += len(found)
        self._told.outcomes.update(ended[one] for one in found)
        return bool(found)


class _Pace:
    """Lets at most *per_minute* turns begin in a minute, evenly."""

    def __init__(self, per_minute: float | None) -> None:
        self._gap_s = 0.0 if per_minute is None else _MINUTE_S / per_minute
        self._next = time.monotonic()

    async def turn(self) -> None:
        """Return when the next turn may begin."""
        now = time.monotonic()
        if self._next > now:
            await asyncio.sleep(self._next - now)
        self._next = max(now, self._next) + self._gap_s
