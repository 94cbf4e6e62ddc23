"""Orders: which did not reach CGB, and syncing them again: one, what is ticked, or all that match."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web

from adapters.postgres.stored_orders import OrderFilter
from daemon.operator import masked, order_syncs, orders, resync
from daemon.operator.faults import Unusable
from daemon.operator.lists import orders as listed
from daemon.pages.confirming import ask, confirmed
from daemon.pages.listing import asked, reading
from daemon.pages.lists import Column, Filter, ListView, Selection, Verb, selected, show
from daemon.pages.visit import Visit
from schemas.api import lists as models

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
FASTEST: Final = 6000.0
SLOWEST: Final = 0.1

ORDERS: Final = ListView(
    title="Orders",
    path="/orders",
    columns=[
        Column("order_id", "Order", href="/orders/{order_id}"),
        Column("branch", "Branch"),
        Column("kept_at", "Kept", "time"),
        Column("status", "State", "state"),
        Column("reason", "Why"),
        Column("attempted_at", "Tried", "time"),
        Column("name", "Buyer"),
        Column("phone", "Phone"),
    ],
    filters=[
        Filter("status", "State", ("pending", "syncing", "synced", "no_whatsapp", "failed")),
        Filter("branch", "Branch"),
        Filter("error", "Why", hint="a part of the reason"),
        Filter("from", "From", hint="2026-01-31T08:00Z"),
        Filter("to", "Before", hint="2026-02-01T08:00Z"),
    ],
    verbs=[Verb("/orders/sync", "Sync again")],
    key="order_id",
    yet="Orders come here by webhook: point the order system at /webhooks/orders, as deploy/SENDING.md says.",
)


async def page(visit: Visit) -> web.Response:
    """Orders, the newest first, and how many stand how."""
    counts = await orders.counts(visit.read)
    return await show(
        visit, ORDERS, reading(visit, listed.page, models.OrderFilter), template="orders.html", counts=counts
    )


async def one(visit: Visit) -> web.Response:
    """One order; its buyer masked until they are revealed."""
    order = await orders.show(visit.read, visit.request.match_info["id"])
    subject = f"order:{order['order_id']}"
    shown = order if subject in visit.revealed else masked.order(order)
    return visit.page("order.html", order=shown, subject=subject)


async def sync(visit: Visit) -> web.Response:
    """Sync what was chosen, after its plan was seen; the page of the run says how far it is."""
    chosen, yes = await selected(visit, ORDERS), await confirmed(visit)
    rate = _rate((await visit.form()).get("rate", ""))
    wanted = _filter(chosen)
    if yes is None:
        plan = await resync.make_plan(visit.pool, wanted)
        left = order_syncs.skipped(plan, None if chosen.everything else len(set(chosen.ids)))
        last = await resync.last(visit.pool, wanted)
        return await ask(
            visit,
            "sync orders again",
            count=plan.total,
            upto=None if last is None else (last - _EPOCH) // _MICROSECOND,
            skipped=[{"reason": why, "count": count} for why, count in left.items() if count],
            back=ORDERS.path,
        )
    if yes.upto is None or abs(yes.upto) > 10**17:
        raise web.HTTPBadRequest(text="This is no form of ours.")
    plan = await resync.make_plan(visit.pool, _filter(chosen, _EPOCH + yes.upto * _MICROSECOND))
    id = await order_syncs.start(visit.pool, visit.bus, visit.in_force.settings, visit.runs, plan, visit.by, rate)
    moved = yes.count - plan.total
    said = f"A sync of {plan.total:,} orders has begun."
    return visit.see(f"/syncs/{id}", f"{said} {moved:,} are left out: they have changed meanwhile." if moved else said)


def _filter(chosen: Selection, upto: datetime | None = None) -> OrderFilter:
    """Raises: Unusable."""
    if not chosen.everything:
        if any("\x00" in id for id in chosen.ids):
            raise web.HTTPBadRequest(text="This is no selection of this list.")
        return OrderFilter(ids=tuple(sorted(set(chosen.ids))))
    wanted = asked(models.OrderFilter, chosen.filters)
    return OrderFilter(
        statuses=None if wanted.status is None else (wanted.status,),
        branch=wanted.branch,
        error=wanted.error,
        kept_since=wanted.since,
        kept_before=wanted.until,
        upto=upto,
    )


def _rate(text: str) -> float | None:
    """Orders in a minute; None: as fast as it goes. Raises: Unusable."""
    if not text.strip():
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not SLOWEST <= rate <= FASTEST:
        raise Unusable(f"at most so many a minute: a number from {SLOWEST} to {FASTEST:.0f}, or nothing")
    return rate
