"""Accounts at providers that are stored: masked, set, deleted. No value leaves here in full."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from daemon.operator import credentials
from daemon.operator.faults import Unusable
from daemon.pages.confirming import ask, confirmed
from daemon.pages.visit import Visit
from schemas.credentials import DEFAULT, SECRETS, fields_of

PATH: Final = "/credentials"
OF_A_FIELD: Final = "secret."
"""How the fields of an account begin in the form."""


async def page(visit: Visit) -> web.Response:
    """All of them, and the form of one of `?provider=`."""
    return await _shown(visit, visit.request.query.get("provider", ""))


async def put(visit: Visit) -> web.Response:
    """Store one, in the place of a former one."""
    form = await visit.form()
    provider = form.get("provider", "")
    secret = {name.removeprefix(OF_A_FIELD): text for name, text in form.items() if name.startswith(OF_A_FIELD)}
    try:
        one = credentials.given(
            provider, form.get("account", ""), {name: text for name, text in secret.items() if text}
        )
        _, made = await credentials.store(visit.pool, visit.in_force.settings, one, visit.by)
    except Unusable as exc:
        return await _shown(visit, provider, wrong=f"{exc}.")
    done = "is stored" if made else "has taken the place of the former one"
    return visit.see(PATH, f"{one.provider}/{one.account} {done}.")


async def delete(visit: Visit) -> web.Response:
    """Delete one, which nothing brings back."""
    form = await visit.form()
    provider, account = form.get("provider", ""), form.get("account", "")
    waiting = await credentials.open_messages(visit.pool, provider, account)
    if await confirmed(visit) is None:
        messages = f", for which {waiting:,} messages wait," if waiting else ""
        what = f"delete the account {provider}/{account}{messages} which nothing brings back:"
        return await ask(visit, what, count=1, upto=None, back=PATH)
    await credentials.delete(visit.pool, provider, account, visit.by)
    return visit.see(PATH, f"{provider}/{account} is deleted.")


async def _shown(visit: Visit, provider: str, *, wrong: str = "") -> web.Response:
    settings = visit.in_force.settings
    stored = await credentials.listed(visit.read, settings)
    return visit.page(
        "credentials.html",
        status=422 if wrong else 200,
        stored=stored,
        settings=credentials.by_settings(settings, stored),
        providers=sorted(SECRETS),
        provider=provider if provider in SECRETS else "",
        fields=fields_of(provider) if provider in SECRETS else {},
        default=DEFAULT,
        wrong=wrong,
    )
