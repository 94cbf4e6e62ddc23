"""The tail: what is going on now, the newest first, moving by itself."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from daemon.operator.tail import EVERY_S, TailFilter
from daemon.operator.trail import OUTCOMES
from daemon.pages.visit import Visit
from daemon.workers import WORKERS
from schemas.envelope import TYPES

PATH: Final = "/tail"
LONGEST: Final = 100
"""Characters of a filter."""

_NAMES: Final = ("type", "source", "worker", "outcome")
_CHOICES: Final = {
    "type": sorted(TYPES),
    "source": None,
    "worker": [worker.name for worker in WORKERS],
    "outcome": OUTCOMES,
}
"""What a filter may be; None: whatever is typed."""


async def page(visit: Visit) -> web.Response:
    """The page; with `?live=off` it stays as it is."""
    wanted = _wanted(visit)
    query = {name: value for name, value in asdict(wanted).items() if value}
    return visit.page(
        "tail.html",
        still=visit.request.query.get("live") == "off",
        given=query,
        choices=_CHOICES,
        live=_address("/tail/live", query),
        moving=_address(PATH, query),
        stopped=_address(PATH, {**query, "live": "off"}),
        **await _values(visit, wanted),
    )


async def live(visit: Visit) -> web.StreamResponse:
    """What changes on it."""
    wanted = _wanted(visit)
    key = f"tail:{visit.zone.key}:{urlencode({k: v for k, v in asdict(wanted).items() if v})}"
    return await visit.stream(key, partial(_part, visit, wanted), every_s=EVERY_S)


def _wanted(visit: Visit) -> TailFilter:
    """The filters of the address. Raises: web.HTTPException."""
    query = visit.request.query
    if unknown := sorted(set(query) - {*_NAMES, "live"}):
        raise web.HTTPBadRequest(text=f"The tail has no filter {unknown[0]!r}.")
    for name in _NAMES:
        value, choices = query.get(name, ""), _CHOICES[name]
        if len(value) > LONGEST or (value and choices is not None and value not in choices):
            raise web.HTTPBadRequest(text=f"This is no {name}.")
    return TailFilter(**{name: query.get(name) or None for name in _NAMES})


async def _part(visit: Visit, wanted: TailFilter) -> str:
    return visit.part("tail_part.html", given=asdict(wanted), **await _values(visit, wanted))


async def _values(visit: Visit, wanted: TailFilter) -> dict[str, Any]:
    tail = visit.frame.tail
    await tail.look()
    return {"rows": tail.shown(wanted), "left_out": tail.left_out, "now": datetime.now(UTC)}


def _address(path: str, query: dict[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path
