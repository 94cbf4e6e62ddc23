"""`/api/v1/orders`: one, masked; orders synced again, and how far a bulk sync is.

What looks is imported when somebody first asks: a daemon starts without the operators' verbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.pool import Pool
from adapters.postgres.stored_orders import OrderFilter
from adapters.redis.streams import Streams
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import body_of, guarded, json_answer, name_of, read
from daemon.api.tokens import actor_of
from daemon.operator import masked, order_syncs, resync
from daemon.operator.faults import Unusable
from daemon.operator.resync import SyncPlan
from daemon.operator.runs import Runs
from daemon.settings.in_force import InForce
from schemas.api.bulk import OrdersSyncIn, Run, Shown, SyncBegun, told

PATH: Final = "/api/v1/orders"


@dataclass(frozen=True, slots=True)
class OrdersApi:
    """The routes of orders, but their list."""

    pool: Pool
    bus: Streams
    in_force: InForce
    access: Access
    runs: Runs

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.get(PATH + "/{id}", guarded(self.access, self._get, write=False)),
            web.post(PATH + "/sync", guarded(self.access, self._sync, write=True, role="operate")),
            web.get("/api/v1/syncs/{id}", guarded(self.access, self._run, write=False)),
        ]

    @described("Show an order, masked", named="the order's id", gives=Shown, problems=(409,))
    async def _get(self, request: web.Request) -> web.Response:
        """Where it stands, its events and their dead letters, its messages, what was reported about it."""
        from daemon.operator import orders

        return json_answer(masked.order(await orders.show(self.pool, name_of(request, "order"))))

    @described("Sync orders again", takes=OrdersSyncIn, gives=SyncBegun, status=202, also=(200,), problems=(409,))
    async def _sync(self, request: web.Request) -> web.Response:
        """With *dry_run* 200 and the plan. By a filter, send its `upto` then: what was kept after it is left alone.
        202: it is under way, and `GET /api/v1/syncs/{id}` says how far. One runs at a time; what was interrupted goes
        on when the same is asked for again."""
        asked = read(OrdersSyncIn, parse_object, await body_of(request))
        if asked.ids is None and asked.upto is None and not asked.dry_run:
            raise Unusable(
                "ask with dry_run first, and send the upto that it says: no order that comes later is synced"
            )
        wanted = _filter(asked)
        plan = await resync.make_plan(self.pool, wanted)
        planned = await self._planned(asked, wanted, plan)
        if asked.dry_run:
            return json_answer({"id": None, **planned})
        id = await order_syncs.start(
            self.pool, self.bus, self.in_force.settings, self.runs, plan, actor_of(request), asked.rate
        )
        return json_answer({"id": id, **planned}, status=202)

    async def _planned(self, asked: OrdersSyncIn, wanted: OrderFilter, plan: SyncPlan) -> dict[str, Any]:
        given = None if asked.ids is None else len(set(asked.ids))
        upto = None if asked.ids is not None else asked.upto or await resync.last(self.pool, wanted)
        return told(plan.total, upto, order_syncs.skipped(plan, given))

    @described("How far a bulk sync is", named="the run's id", gives=Run)
    async def _run(self, request: web.Request) -> web.Response:
        return json_answer(await order_syncs.show(self.pool, self.runs, name_of(request, "sync")))


def _filter(asked: OrdersSyncIn) -> OrderFilter:
    return OrderFilter(
        ids=None if asked.ids is None else tuple(sorted(set(asked.ids))),
        statuses=None if asked.status is None else (asked.status,),
        branch=asked.branch,
        error=asked.error,
        kept_since=asked.since,
        kept_before=asked.until,
        upto=asked.upto,
    )
