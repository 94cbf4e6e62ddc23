"""One person: who they are, everything that happened in one timeline, what is open and why."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from aiohttp import web

from daemon.operator import label_requests, masked, person, resync
from daemon.operator.faults import NotThere, Unusable
from daemon.operator.why.answer import Here
from daemon.pages.visit import Visit

MOST: Final = 100
"""Steps of the timeline that the page has."""

ASKED: Final = 5
"""Open events whose reasons the page tells: each takes a dozen questions."""


async def page(visit: Visit) -> web.Response:
    """The page of the person; one who was merged into another has the other's."""
    one = await _shown(visit)
    if one["id"] != visit.request.match_info["id"].lower():
        return visit.see(f"/people/{one['id']}")
    return visit.page("person.html", one=one, subject=_subject(one))


async def sync(visit: Visit) -> web.Response:
    """Sync their newest order again."""
    one = await _shown(visit)
    if (order := one["newest_order_id"]) is None:
        raise Unusable("this person has no order: there is nothing to sync")
    await resync.send_one(visit.pool, visit.bus, order, visit.by)
    return visit.see(f"/people/{one['id']}", f"The order {order} is on its way to CGB.")


async def labels(visit: Visit) -> web.Response:
    """Add labels to their conversation."""
    one = await _shown(visit, reveal=True)
    if not one["phones"]:
        raise Unusable("this person has no phone: Chatwoot knows them by none")
    titles = (await visit.form()).get("labels", "")
    added = await label_requests.add(
        visit.pool, visit.bus, visit.settings, one["phones"][0], titles, visit.by, visit.now
    )
    return visit.see(f"/people/{one['id']}", f"On their way to Chatwoot: {', '.join(added)}.")


def _subject(one: dict[str, Any]) -> str:
    return f"contact:{one['id']}"


async def _shown(visit: Visit, *, reveal: bool = False) -> dict[str, Any]:
    """The person of the address, masked but where this session has revealed them. *reveal*: for us alone, who pass a
    phone on. Raises: NotThere."""
    try:
        id = UUID(visit.request.match_info["id"])
    except ValueError:
        raise NotThere("there is no such person: find them by what you know of them") from None
    here = Here(visit.read, visit.bus)
    one = await person.shown(here, str(id), reveal=False, limit=MOST, asked=ASKED)
    if reveal:
        return one
    if _subject(one) not in visit.revealed:
        return masked.person(one)
    return await person.shown(here, one["id"], reveal=True, limit=MOST, asked=ASKED)
