"""Is all well, and what needs somebody: flow, workers, providers, stores. It moves by itself; what an operator may
pause stands below what moves, so that nothing shifts under their hand."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from aiohttp import web

from daemon.operator import pauses
from daemon.operator.overview import read_overview
from daemon.operator.store_state import read_store_state
from daemon.pages.visit import Visit
from daemon.workers import WORKERS

PATH: Final = "/"
EVERY_S: Final = 5.0
"""A reading asks both stores a dozen questions."""

LONGEST_REASON: Final = 200


async def page(visit: Visit) -> web.Response:
    """The page; with `?live=off` it stays as it is."""
    still = visit.request.query.get("live") == "off"
    values = await _values(visit)
    told = values["told"]
    stoppable = sorted(told["workers"]), sorted(told["providers"])
    return visit.page("overview.html", still=still, stoppable=stoppable, **values)


async def live(visit: Visit) -> web.StreamResponse:
    """What changes on it."""
    return await visit.stream(f"overview:{visit.zone.key}", partial(_part, visit), every_s=EVERY_S)


async def pause(visit: Visit) -> web.Response:
    """Pause a worker or a provider, in every process."""
    form = await visit.form()
    name, reason = form.get("name", ""), form.get("reason", "").strip()
    if not reason or len(reason) > LONGEST_REASON or not reason.isprintable():
        return visit.error(422, f"Nothing was paused: say why, in 1 to {LONGEST_REASON} characters on one line.")
    changes = await _set(visit, name, paused=True, reason=reason)
    return visit.see(PATH, f"{name} is paused." if changes else f"{name} was paused already.")


async def resume(visit: Visit) -> web.Response:
    """Let a worker or a provider go on."""
    name = (await visit.form()).get("name", "")
    changes = await _set(visit, name, paused=False, reason=None)
    return visit.see(PATH, f"{name} goes on." if changes else f"{name} was not paused.")


async def _set(visit: Visit, name: str, *, paused: bool, reason: str | None) -> bool:
    return await pauses.set_paused(
        visit.pool, visit.bus.redis, WORKERS, name, paused=paused, by=visit.by, reason=reason
    )


async def _part(visit: Visit) -> str:
    return visit.part("overview_part.html", **(await _values(visit) | {"now": datetime.now(UTC)}))


async def _values(visit: Visit) -> dict[str, Any]:
    told = await read_overview(visit.read)
    state = await read_store_state(visit.read, visit.bus)
    needs = [*_lacks(state), *told["needs"]]
    if not needs:
        sentence = "All is well."
    else:
        sentence = "1 thing needs somebody." if len(needs) == 1 else f"{len(needs)} things need somebody."
    return {"told": told, "state": state, "needs": needs, "sentence": sentence, "now": datetime.now(UTC)}


def _lacks(state: dict[str, Any]) -> list[dict[str, Any]]:
    """What the stores need."""
    found = []
    if state["redis"] is None:
        found.append("Redis does not answer: what comes in is kept in Postgres until it does")
    if state["migrations_lacking"]:
        found.append(f"the database lacks {state['migrations_lacking']} migrations: run `ferryman migrate`")
    if state["todo"]:
        found.append(f"{state['durability']} → {state['todo']}")
    return [{"kind": "stores", "text": text, "count": 1, "since": None, "link": "/"} for text in found]
