"""Operators: who may log in, and as what."""

from __future__ import annotations

from aiohttp import web

from daemon.operator import users
from daemon.operator.faults import Conflict, Unusable
from daemon.operator.passwords import TooMany
from daemon.pages.visit import Visit

PATH = "/users"


async def page(visit: Visit) -> web.Response:
    """All of them, and the form of a new one."""
    return await _shown(visit)


async def add(visit: Visit) -> web.Response:
    """Make one."""
    form = await visit.form()
    name, role, password = form.get("name", ""), form.get("role", ""), form.get("password", "")
    try:
        made = await users.add(visit.pool, visit.frame.passwords, name, role, password, visit.by)
    except (Unusable, Conflict) as exc:
        return await _shown(visit, wrong=f"{exc}.", name=name[:100])
    except TooMany:
        return visit.error(503, "Too many people log in just now: try again.")
    return visit.see(PATH, f"{made['name']} may log in, with the role {made['role']}.")


async def role(visit: Visit) -> web.Response:
    """Give somebody another role."""
    form = await visit.form()
    one = await users.set_role(visit.pool, form.get("name", ""), form.get("role", ""), visit.by)
    return visit.see(PATH, f"{one['name']} has the role {one['role']}. Their sessions have ended.")


async def disable(visit: Visit) -> web.Response:
    """Let somebody log in no more."""
    one = await users.disable(visit.pool, (await visit.form()).get("name", ""), visit.by)
    return visit.see(PATH, f"{one['name']} is disabled. Their sessions have ended.")


async def enable(visit: Visit) -> web.Response:
    """Let somebody log in again."""
    one = await users.enable(visit.pool, (await visit.form()).get("name", ""), visit.by)
    return visit.see(PATH, f"{one['name']} may log in again.")


async def _shown(visit: Visit, *, wrong: str = "", name: str = "") -> web.Response:
    found = await users.listed(visit.read)
    return visit.page(
        "users.html", status=422 if wrong else 200, users=found, roles=users.ROLES, wrong=wrong, name=name
    )
