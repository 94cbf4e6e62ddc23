"""Subscribers of outgoing webhooks: what each is told, how it fares, and its deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from daemon.operator import deliveries_again, subscribing
from daemon.operator.deliveries_again import NEWEST
from daemon.operator.faults import Conflict, Unusable
from daemon.pages.confirming import ask, confirmed
from daemon.pages.visit import Visit
from schemas.api.moments import Moment
from schemas.subscriptions import PATTERNS

PATH: Final = "/subscribers"
STATES: Final = ("waiting", "failed", "delivered", "skipped")
SHOWN: Final = 50
BACKLOGS: Final = ("send", "skip")


async def page(visit: Visit) -> web.Response:
    """All of them, and the form of a new one."""
    return await _listed(visit)


async def add(visit: Visit) -> web.Response:
    """Make one. This answer alone has its secret."""
    form, settings = await visit.form(), visit.in_force.settings
    try:
        wanted = subscribing.wanted(
            settings,
            form.get("name", ""),
            form.get("url", ""),
            await visit.values("types"),
            full=bool(form.get("full")),
        )
        made = await subscribing.add(visit.pool, settings, wanted, visit.by)
    except (Unusable, Conflict) as exc:
        return await _listed(visit, wrong=f"{exc}.")
    return _secret(visit, "The secret of a subscriber", made)


async def one(visit: Visit) -> web.Response:
    """One of them, with its deliveries in a state."""
    return await _shown(visit)


async def test(visit: Visit) -> web.Response:
    """Send it a signed test now."""
    came = await subscribing.try_out(visit.pool, visit.in_force.settings, _name(visit))
    said = "It took the test" if came["delivered"] else f"It did not take the test ({came['error'] or came['status']})"
    return visit.see(_address(visit), f"{said}, after {came['ms']:,} ms.")


async def rotate(visit: Visit) -> web.Response:
    """Give it a new secret. This answer alone has it."""
    made = await subscribing.rotate(visit.pool, visit.in_force.settings, _name(visit), visit.by)
    return _secret(visit, "The new secret; the former one signs beside it for 24 hours", made)


async def disable(visit: Visit) -> web.Response:
    """Send it nothing more."""
    why = (await visit.form()).get("reason", "").strip()
    if len(why) > 200 or not why.isprintable():
        raise Unusable("the reason must have at most 200 characters on one line")
    await subscribing.disable(visit.pool, visit.in_force.settings, _name(visit), visit.by, why)
    return visit.see(_address(visit), "Nothing more is sent to it. Its events wait.")


async def enable(visit: Visit) -> web.Response:
    """Send to it again. What waits is sent or skipped; to skip is asked first."""
    backlog, name = (await visit.form()).get("backlog") or None, _name(visit)
    if backlog is not None and backlog not in BACKLOGS:
        raise web.HTTPBadRequest(text="This is no form of ours.")
    if backlog == "skip" and await confirmed(visit) is None:
        waiting = (await subscribing.shown(visit.read, visit.in_force.settings, name))["waiting"]
        return await ask(visit, f"skip what waits for {name}", count=waiting, upto=None, back=_address(visit))
    chosen = cast("subscribing.Backlog | None", backlog)
    await subscribing.enable(visit.pool, visit.in_force.settings, name, visit.by, chosen)
    return visit.see(_address(visit), f"{name} is sent to again.")


async def remove(visit: Visit) -> web.Response:
    """Delete it with its deliveries."""
    name = _name(visit)
    if await confirmed(visit) is None:
        await subscribing.shown(visit.read, visit.in_force.settings, name)
        what = f"remove {name} with its secret and all its deliveries, which nothing brings back:"
        return await ask(visit, what, count=1, upto=None, back=_address(visit))
    count = await subscribing.remove(visit.pool, name, visit.by)
    return visit.see(PATH, f"{name} is removed, and {count:,} deliveries with it.")


async def retry(visit: Visit) -> web.Response:
    """Send failed deliveries again: those that are ticked, those of one error, or all."""
    form, ids = await visit.form(), await visit.values("id")
    if not all(id.isascii() and id.isdigit() and len(id) <= 18 for id in ids):
        raise web.HTTPBadRequest(text="This is no selection of this list.")
    error = form.get("error") or None
    plan = await deliveries_again.plan_retry(visit.pool, _name(visit), tuple(map(int, ids)) or None, error)
    yes = await confirmed(visit)
    if yes is None:
        what = f"send failed deliveries to {_name(visit)} again"
        return await ask(visit, what, count=plan.total, upto=plan.upto, back=_address(visit))
    if yes.upto is not None:
        plan = plan._replace(total=yes.count, upto=min(plan.upto, yes.upto))
    return _done(visit, await deliveries_again.retry(visit.pool, plan, visit.by))


async def replay(visit: Visit) -> web.Response:
    """Tell it again what a time has brought."""
    form = await visit.form()
    since, until = _moment(form, "from"), _moment(form, "to")
    plan = await deliveries_again.plan_replay(visit.pool, _name(visit), since, until)
    yes = await confirmed(visit)
    if yes is None:
        what = f"tell {_name(visit)} again of events"
        return await ask(visit, what, count=plan.total, upto=plan.upto, back=_address(visit), typed=True)
    if yes.upto is not None:
        plan = plan._replace(total=yes.count, upto=min(plan.upto, yes.upto))
    return _done(visit, await deliveries_again.perform_replay(visit.pool, plan, visit.by))


def _done(visit: Visit, came: Mapping[str, Any]) -> web.Response:
    left = "".join(f" {each['count']:,} left out: {each['reason']}." for each in came["skipped"])
    return visit.see(_address(visit), f"{came['done']:,} wait to go out.{left}")


def _moment(form: Mapping[str, str], name: str) -> datetime | None:
    """Raises: Unusable."""
    text = form.get(name, "").strip()
    try:
        return _MOMENT.validate_python(text) if text else None
    except ValidationError:
        raise Unusable(f"{name} must be a time like 2031-02-14T00:00:00Z") from None


_MOMENT: Final = TypeAdapter[datetime](Moment)


def _secret(visit: Visit, title: str, made: Mapping[str, Any]) -> web.Response:
    back = f"{PATH}/{made['name']}"
    return visit.page("secret.html", title=title, of=made["name"], secret=made["secret"], back=back)


async def _shown(visit: Visit) -> web.Response:
    name, query = _name(visit), visit.request.query
    state, cursor = query.get("state") or "failed", query.get("cursor") or ""
    if state not in STATES or not (cursor == "" or (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18)):
        return visit.error(400, "This address is of no page of these deliveries.")
    told = await subscribing.shown(visit.read, visit.in_force.settings, name)
    before = int(cursor) if cursor else NEWEST
    found = await deliveries_again.deliveries_of(visit.read, name, cast(Any, state), before, SHOWN)
    older = found[-1]["id"] if len(found) == SHOWN else None
    return visit.page(
        "subscriber.html", told=told, state=state, states=STATES, rows=found, older=older, backlogs=BACKLOGS
    )


async def _listed(visit: Visit, *, wrong: str = "") -> web.Response:
    found = await subscribing.listed(visit.read, visit.in_force.settings)
    form = await visit.form() if wrong else {}
    return visit.page(
        "subscribers.html", status=422 if wrong else 200, found=found, types=PATTERNS, wrong=wrong, form=form
    )


def _name(visit: Visit) -> str:
    return visit.request.match_info["name"]


def _address(visit: Visit) -> str:
    return f"{PATH}/{_name(visit)}"
