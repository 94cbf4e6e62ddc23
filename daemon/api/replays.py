"""`/api/v1/replays`: events of the journal once more, to one worker: planned, begun, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.operator import replay as stored
from adapters.postgres.operator.replay import ReplayFilter
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import body_of, guarded, json_answer, name_of, read
from daemon.api.tokens import actor_of
from daemon.operator import replay
from daemon.operator.faults import NotThere, Unusable
from daemon.operator.keys import keys_meant
from daemon.operator.lists import replays
from daemon.operator.runs import Runs
from daemon.workers import WORKERS
from schemas.api.bulk import ReplayBegun, ReplayIn, ReplayRun, told

PATH: Final = "/api/v1/replays"
KIND: Final = "replay"


@dataclass(frozen=True, slots=True)
class ReplaysApi:
    """The routes of replays, but their list."""

    pool: Pool
    bus: Streams
    access: Access
    runs: Runs

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.post(PATH, guarded(self.access, self._post, write=True, role="operate")),
            web.get(PATH + "/{id}", guarded(self.access, self._get, write=False)),
        ]

    @described(
        "Deliver events again to one worker",
        takes=ReplayIn,
        gives=ReplayBegun,
        status=202,
        also=(200,),
        problems=(409,),
    )
    async def _post(self, request: web.Request) -> web.Response:
        """With *dry_run* 200 and the plan. Send its `upto` then: events that arrive later are left alone. 202: it is
        under way, and `GET /api/v1/replays/{id}` says how far. One runs at a time."""
        asked = read(ReplayIn, parse_object, await body_of(request))
        if asked.upto is None and not asked.dry_run:
            raise Unusable("ask with dry_run first, and send the upto that it says: what comes later is left alone")
        worker = replay.worker_named(WORKERS, asked.worker)
        chosen = ReplayFilter(
            types=None if asked.types is None else tuple(asked.types),
            since=asked.since,
            until=asked.until,
            keys=None if asked.key is None else tuple(sorted(keys_meant(asked.key))),
            event_id=asked.event,
        )
        plan = await replay.make_plan(self.pool, worker, chosen, upto=asked.upto)
        shown = told(plan.total, plan.until, {}) | {"ended": dict(plan.ended)}
        if asked.dry_run:
            return json_answer({"id": None, **shown})
        self.runs.require_free(KIND)
        actor = actor_of(request)
        run = await replay.begin(self.pool, plan, actor)
        plan = replace(plan, goes_on=run)
        self.runs.begin(KIND, run.id, replay.publish_run(self.pool, self.bus, worker, plan, run, lambda done, of: None))
        return json_answer({"id": run.id, **shown}, status=202)

    @described("How far a replay is", named="the replay's id", gives=ReplayRun)
    async def _get(self, request: web.Request) -> web.Response:
        found = await stored.find(self.pool, name_of(request, "replay"))
        if found is None:
            raise NotThere("there is no such replay: see GET /api/v1/replays")
        return json_answer({**replays.document(found), "running": self.runs.is_running(found["id"])})
