"""`/api/v1/orders`: one, masked; orders synced again, and how far a bulk sync is.

What looks is imported when somebody first asks: a daemon starts without the operators' verbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.operator import sync_runs
from adapters.postgres.pool import Pool
from adapters.postgres.stored_orders import OrderFilter
from adapters.redis.streams import Streams
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import body_of, guarded, json_answer, name_of, read
from daemon.api.tokens import actor_of
from daemon.operator import masked, resync
from daemon.operator.faults import NotThere, Unusable
from daemon.operator.resync import SyncPlan
from daemon.operator.runs import Runs
from daemon.settings.in_force import InForce
from schemas.api.bulk import OrdersSyncIn, Run, Shown, SyncBegun, told

PATH: Final = "/api/v1/orders"
NO_PHONE: Final = "it has no usable phone"
NOT_THERE: Final = "there is no such order"
KIND: Final = "orders-sync"


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
        self.runs.require_free(KIND)
        actor = actor_of(request)
        run = await resync.begin(self.pool, plan, actor)
        work = resync.run(
            self.pool,
            self.bus,
            SyncPlan(plan.chosen, plan.total, plan.without_phone, run),
            actor,
            lambda told: None,
            at_once=self.in_force.settings.cgb_sync_batch_size,
            per_minute=asked.rate,
        )
        self.runs.begin(KIND, run.id, work)
        return json_answer({"id": run.id, **planned}, status=202)

    async def _planned(self, asked: OrdersSyncIn, wanted: OrderFilter, plan: SyncPlan) -> dict[str, Any]:
        missing = 0 if asked.ids is None else len(set(asked.ids)) - plan.total - plan.without_phone
        upto = None if asked.ids is not None else asked.upto or await resync.last(self.pool, wanted)
        return told(plan.total, upto, {NO_PHONE: plan.without_phone, NOT_THERE: missing})

    @described("How far a bulk sync is", named="the run's id", gives=Run)
    async def _run(self, request: web.Request) -> web.Response:
        row = await sync_runs.find(self.pool, name_of(request, "sync"))
        if row is None:
            raise NotThere("there is no such sync: see GET /api/v1/syncs")
        return json_answer({**row, "running": self.runs.is_running(row["id"])})


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
