"""The bus: who owns what, what waits, and is anything lost."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from aiohttp import web

from daemon.operator import bus_state
from daemon.operator.faults import Unanswered
from daemon.pages.visit import Visit

EVERY_S: Final = 5.0
"""It asks Redis for every stream."""


async def page(visit: Visit) -> web.Response:
    """The page; with `?live=off` it stays as it is."""
    paused = visit.request.query.get("live") == "off"
    return visit.page("bus.html", paused=paused, **await _values(visit))


async def live(visit: Visit) -> web.StreamResponse:
    """What changes on it."""
    return await visit.stream(f"bus:{visit.zone.key}", partial(_part, visit), every_s=EVERY_S)


async def _part(visit: Visit) -> str:
    return visit.part("bus_part.html", **(await _values(visit)) | {"now": datetime.now(UTC)})


async def _values(visit: Visit) -> dict[str, Any]:
    try:
        told = await bus_state.document(visit.read, visit.bus, visit.settings.ferryman_partitions)
    except Unanswered as exc:
        return {"told": None, "wrong": f"{exc}.", "at": datetime.now(UTC)}
    return {"told": told, "wrong": "", "at": datetime.now(UTC)}
