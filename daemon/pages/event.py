"""One event: its way through every worker, why it is where it is, and what may be done about it."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import quote

from aiohttp import web

from daemon.operator import dead_letters, masked
from daemon.operator import replay as replays
from daemon.operator.event_timeline import document, steps_of
from daemon.operator.faults import Conflict, NotThere
from daemon.operator.naming import NOT_KEPT, event_named
from daemon.operator.trail import EventTrail, trail_of
from daemon.operator.why.answer import Here, why_all
from daemon.pages.confirming import ask, confirmed
from daemon.pages.visit import Visit
from daemon.workers import WORKERS

PATIENCE_S: Final = 10.0
"""How long a replayed event waits for those before it."""


async def page(visit: Visit) -> web.Response:
    """The page; with `?data=1` the event's data too."""
    found = await _found(visit)
    why = await why_all(Here(visit.read, visit.bus), found, WORKERS)
    one = document(found, await steps_of(visit.read, found), why)
    subject = f"event:{found.event.id}"
    return visit.page(
        "event.html",
        one=one if subject in visit.revealed else masked.event(one),
        subject=subject,
        data="data" in visit.request.query,
        letters=[letter for letter in one["dead_letters"] if letter["state"] == "open"],
        handled_by=found.workers,
    )


async def retry(visit: Visit) -> web.Response:
    """Send it again to each worker for which it is a dead letter."""
    found = await _found(visit)
    letters = _open(found)
    sent = await dead_letters.retry(visit.pool, [number for number, _ in letters], visit.by, lambda done, of: None)
    if not sent:
        raise Conflict("it has no open dead letter any more: somebody has settled it meanwhile")
    return visit.see(_path(found), f"Queued again for {', '.join(worker for _, worker in letters)}.")


async def discard(visit: Visit) -> web.Response:
    """Close its dead letters without another run."""
    found = await _found(visit)
    numbers = [number for number, _ in _open(found)]
    if (yes := await confirmed(visit)) is None:
        return await ask(
            visit, "discard dead letters", count=len(numbers), upto=max(numbers, default=None), back=_path(found)
        )
    closed = await dead_letters.discard(visit.pool, [n for n in numbers if yes.upto and n <= yes.upto], visit.by)
    if not closed:
        raise Conflict("it has no open dead letter any more: somebody has settled it meanwhile")
    return visit.see(_path(found), f"{closed} discarded.")


async def replay(visit: Visit) -> web.Response:
    """Deliver it once more to one worker, which may send something to a person again."""
    found = await _found(visit)
    worker = replays.worker_named(WORKERS, (await visit.form()).get("worker", ""))
    plan = await replays.plan_one(visit.pool, worker, found.event.id)
    if (yes := await confirmed(visit)) is None:
        what = f"replay to {worker.name}, which does again what it does with such an event"
        return await ask(visit, what, count=plan.total, upto=plan.until, back=_path(found))
    if not plan.total or not yes.count:
        raise Conflict(f"the journal does not have it for {worker.name}: nothing was replayed")
    try:
        async with asyncio.timeout(PATIENCE_S):
            await replays.perform(visit.pool, visit.bus, worker, plan, lambda done, of: None, visit.by)
    except TimeoutError:
        raise Conflict("many replayed events wait before it: ask again later, and it goes on") from None
    return visit.see(_path(found), f"Delivered again to {worker.name}.")


async def _found(visit: Visit) -> EventTrail:
    """Raises: NotThere."""
    one = await event_named(visit.read, visit.request.match_info["id"])
    trail = None if one is None else await trail_of(visit.read, WORKERS, one)
    if trail is None:
        raise NotThere(NOT_KEPT)
    return trail


def _open(found: EventTrail) -> list[tuple[int, str]]:
    return [(letter.id, letter.worker) for letter in found.letters if letter.state == "open"]


def _path(found: EventTrail) -> str:
    return f"/events/{quote(found.event.id, safe='')}"
