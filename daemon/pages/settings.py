"""The settings in force in this process, secrets masked."""

from __future__ import annotations

from aiohttp import web

from daemon.pages.visit import Visit
from daemon.settings.load import shown


async def page(visit: Visit) -> web.Response:
    """All of them, with where each comes from; with `?given=1` those that are not the default."""
    given = visit.request.query.get("given") == "1"
    rows = [one for one in shown(visit.in_force.settings) if not given or one[2] != "default"]
    return visit.page("settings.html", rows=rows, given=given)
