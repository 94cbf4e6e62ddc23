"""Replays: events of the journal once more, to one worker: planned, begun, and how far each is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from aiohttp import web
from pydantic import ValidationError

from adapters.postgres.operator import replay as stored
from adapters.postgres.operator.replay import ReplayFilter
from daemon.operator import replay
from daemon.operator.faults import NotThere, Unusable
from daemon.operator.keys import keys_meant
from daemon.operator.lists import replays
from daemon.operator.lists.pages import Page, Position
from daemon.pages.confirming import ask, confirmed
from daemon.pages.lists import Column, Filter, ListView, filter_of, show
from daemon.pages.visit import Visit
from daemon.workers import WORKERS
from schemas.api import lists as filters
from schemas.api.bulk import ReplayIn

PATH: Final = "/replays"
KIND: Final = "replay"
"""One replay runs at a time, also of those that the API has begun."""

VIEW: Final = ListView(
    title="Replays",
    path=PATH,
    columns=[
        Column("id", "Replay", href="/replays/{id}"),
        Column("started_at", "Begun", "time"),
        Column("by", "By"),
        Column("published", "Delivered", "number"),
        Column("total", "Of", "number"),
        Column("finished_at", "Ended", "time"),
        Column("filter", "Which events", "json"),
    ],
    filters=[Filter("worker", "Worker", [worker.name for worker in WORKERS])],
    yet="A replay delivers events of the journal to one worker once more: plan one below.",
)


async def listed(visit: Visit) -> web.Response:
    """The newest first, and the form that plans one."""

    async def read(given: Mapping[str, str], cursor: str | None) -> Page:
        return await replays.page(visit.read, filter_of(filters.ReplayFilter, given), Position(cursor))

    return await show(visit, VIEW, read, template="replays.html", workers=[worker.name for worker in WORKERS])


async def begin(visit: Visit) -> web.Response:
    """Plan one, and, once its count is confirmed, let it go on behind the answer."""
    form = await visit.form()
    worker = replay.worker_named(WORKERS, form.get("worker", ""))
    chosen = _chosen(form)
    yes = await confirmed(visit)
    plan = await replay.make_plan(visit.pool, worker, chosen, upto=None if yes is None else yes.upto)
    if yes is None:
        if not plan.total:
            raise Unusable("no event of the journal fits: nothing would be delivered")
        ended = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(plan.ended.items()))
        what = f"deliver to {worker.name} once more what may reach people (the first time: {ended})"
        return await ask(visit, what, count=plan.total, upto=plan.until, back=PATH, typed=True)
    runs = visit.runs
    runs.require_free(KIND)
    run = await replay.begin(visit.pool, plan, visit.by)
    plan = replace(plan, goes_on=run)
    runs.begin(KIND, run.id, replay.publish_run(visit.pool, visit.bus, worker, plan, run, lambda done, of: None))
    return visit.see(f"{PATH}/{run.id}", f"{plan.total:,} events are on their way.")


async def page(visit: Visit) -> web.Response:
    """How far one is."""
    paused = visit.request.query.get("live") == "off"
    told = await _told(visit)
    return visit.page("replay.html", told=told, paused=paused or told["finished_at"] is not None)


async def live(visit: Visit) -> web.StreamResponse:
    """What changes on it."""
    id = (await _told(visit))["id"]
    return await visit.stream(f"replay:{id}:{visit.zone.key}", partial(_part, visit))


async def _part(visit: Visit) -> str:
    return visit.part("replay_part.html", told=await _told(visit), now=datetime.now(UTC))


async def _told(visit: Visit) -> dict[str, Any]:
    """Raises: NotThere."""
    found = await stored.find(visit.read, visit.request.match_info["id"])
    if found is None:
        raise NotThere("there is no such replay")
    return {**replays.document(found), "running": visit.runs.is_running(found["id"])}


def _chosen(form: Mapping[str, str]) -> ReplayFilter:
    """Which events the form means, by the same names as the API's. Raises: Unusable."""
    said: dict[str, Any] = {name: form.get(name, "").strip() or None for name in ("from", "to", "key", "event")}
    said |= {"worker": form.get("worker", ""), "types": form.get("types", "").split() or None}
    try:
        asked = ReplayIn.model_validate(said)
    except ValidationError as exc:
        names = ", ".join(sorted({str(each["loc"][0]) for each in exc.errors() if each["loc"]}))
        raise Unusable(f"this cannot be used: mend {names}") from None
    return ReplayFilter(
        types=None if asked.types is None else tuple(asked.types),
        since=asked.since,
        until=asked.until,
        keys=None if asked.key is None else tuple(sorted(keys_meant(asked.key))),
        event_id=asked.event,
    )
