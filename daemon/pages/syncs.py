"""Bulk syncs of orders: which there were, and how far one is."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from aiohttp import web

from daemon.operator import order_syncs
from daemon.operator.lists import syncs as listed
from daemon.pages.listing import reading
from daemon.pages.lists import Column, ListView, show
from daemon.pages.visit import Visit
from schemas.api import lists as models

SYNCS: Final = ListView(
    title="Syncs of orders",
    path="/syncs",
    columns=[
        Column("id", "Sync", href="/syncs/{id}"),
        Column("started_at", "Begun", "time"),
        Column("begun_by", "By"),
        Column("sent", "Sent", "number"),
        Column("total", "Of", "number"),
        Column("finished_at", "Ended", "time"),
    ],
    yet="Tick orders on the page Orders, and sync them again.",
)


async def page(visit: Visit) -> web.Response:
    """All of them, the newest first."""
    return await show(visit, SYNCS, reading(visit, listed.page, models.SyncFilter))


async def one(visit: Visit) -> web.Response:
    """How far it is; with `?live=off` the page stays as it is."""
    paused = visit.request.query.get("live") == "off"
    return visit.page("sync.html", paused=paused, **await _values(visit))


async def live(visit: Visit) -> web.StreamResponse:
    """What changes on it."""
    id = (await _values(visit))["run"]["id"]
    return await visit.stream(f"sync:{id}:{visit.zone.key}", partial(_part, visit))


async def _part(visit: Visit) -> str:
    return visit.part("sync_part.html", **await _values(visit))


async def _values(visit: Visit) -> dict[str, Any]:
    """Raises: NotThere."""
    now = datetime.now(UTC)
    run = await order_syncs.show(visit.read, visit.runs, visit.request.match_info["id"])
    return {"run": run, "now": now, **order_syncs.pace(run, now)}
