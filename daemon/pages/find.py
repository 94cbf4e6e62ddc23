"""Find: one field that takes whatever names something. It is a POST, so that no phone stands in an address or a log."""

from __future__ import annotations

from aiohttp import web

from daemon.operator import search
from daemon.pages.visit import Visit


async def page(visit: Visit) -> web.Response:
    """The field."""
    return visit.page("find.html", hits=None)


async def find(visit: Visit) -> web.Response:
    """What the text names: the one thing itself, or a list of several."""
    hits = await search.search(visit.read, (await visit.form()).get("text", ""))
    if len(hits) == 1:
        return visit.see(hits[0].link)
    return visit.page("find.html", hits=hits)
