"""Bearer tokens of the API: made, listed, revoked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from daemon.operator import tokens
from daemon.operator.faults import Unusable
from daemon.pages.confirming import ask, confirmed
from daemon.pages.visit import Visit

PATH: Final = "/tokens"
KINDS: Final = ("service", "user", "edge")


async def page(visit: Visit) -> web.Response:
    """All of them, also those that have ended, and the form of a new one."""
    return await _shown(visit)


async def add(visit: Visit) -> web.Response:
    """Make one. This answer alone has it."""
    form = await visit.form()
    try:
        made = await tokens.create(visit.pool, _wanted(form), visit.by)
    except Unusable as exc:
        return await _shown(visit, wrong=f"{exc}.")
    return visit.page("secret.html", title="A new token", of=made["name"], secret=made["token"], back=PATH)


async def revoke(visit: Visit) -> web.Response:
    """Revoke one, which nothing brings back."""
    id = (await visit.form()).get("id", "")
    if not (id.isascii() and id.isdigit() and len(id) <= 18):
        raise web.HTTPBadRequest(text="This is no form of ours.")
    one = await tokens.shown(visit.pool, int(id))
    if await confirmed(visit) is None:
        what = f"revoke the token of {one['kind']} {one['name']}, which nothing brings back:"
        return await ask(visit, what, count=1, upto=None, back=PATH)
    await tokens.revoke(visit.pool, int(id), visit.by)
    return visit.see(PATH, f"The token of {one['name']} is revoked: every process refuses it within five seconds.")


def _wanted(form: Mapping[str, str]) -> tokens.Wanted:
    """The token of the form. Raises: Unusable."""
    kind, name = form.get("kind", ""), form.get("name", "").strip()
    if kind not in KINDS:
        raise Unusable(f"a token is for one of {', '.join(KINDS)}")
    days = form.get("days", "").strip()
    if days and not (days.isascii() and days.isdigit() and len(days) <= 6):
        raise Unusable(f"expires must be 1 to {tokens.MOST_DAYS} days, or nothing")
    named: dict[str, str | None] = dict.fromkeys(KINDS) | {kind: name}
    return tokens.wanted(
        user=named["user"],
        edge=named["edge"],
        service=named["service"],
        owners=form.get("owners", "").split(),
        branch=form.get("branch", "").strip() or None,
        role=form.get("role", ""),
        days=int(days) if days else None,
    )


async def _shown(visit: Visit, *, wrong: str = "") -> web.Response:
    found = await tokens.listed(visit.read)
    return visit.page(
        "tokens.html", status=422 if wrong else 200, tokens=found, kinds=KINDS, roles=tokens.ROLES, wrong=wrong
    )
