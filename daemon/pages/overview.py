"""Is all well, and what needs somebody: the status of the installation, as `ferryman status` knows it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from aiohttp import web

from daemon.operator.status import StoresAway, read_status
from daemon.pages.visit import Visit

EVERY_S: Final = 5.0
"""A status asks both stores a dozen questions, and opens connections for them."""


async def page(visit: Visit) -> web.Response:
    """The page; with `?live=off` it stays as it is."""
    paused = visit.request.query.get("live") == "off"
    return visit.page("overview.html", paused=paused, at=datetime.now(UTC), **await _values(visit))


async def live(visit: Visit) -> web.StreamResponse:
    """What changes on it."""
    return await visit.stream(f"overview:{visit.zone.key}", partial(_part, visit), every_s=EVERY_S)


async def _part(visit: Visit) -> str:
    return visit.part("overview_part.html", at=datetime.now(UTC), **await _values(visit))


async def _values(visit: Visit) -> dict[str, Any]:
    try:
        status = await read_status(visit.settings)
    except StoresAway as exc:
        return {"told": None, "sentence": f"Neither store answers: {exc}", "needs": []}
    needs = list(_needs(status))
    if needs:
        sentence = "1 thing needs somebody." if len(needs) == 1 else f"{len(needs)} things need somebody."
    else:
        sentence = "All is well."
    return {"told": status, "sentence": sentence, "needs": needs}


def _needs(status: dict[str, Any]) -> list[str]:
    """What somebody has to look at, a line each."""
    found = [f"{store} does not answer: {why}" for store, why in status["away"].items()]
    if status["schema_lacks"]:
        found.append(f"the database lacks {status['schema_lacks']} migrations: run `ferryman migrate`")
    for name, worker in status["workers"].items():
        if worker["dead"]:
            found.append(f"{name}: {worker['dead']:,} dead letters")
        if worker["state"] in ("paused", "no process runs it"):
            found.append(f"{name}: {worker['state']}")
    found += [f"{name} is paused" for name in status["paused"] if name not in status["workers"]]
    found += [f"{name}: nobody has read its events for {seconds} s" for name, seconds in status["unattended"].items()]
    return found
