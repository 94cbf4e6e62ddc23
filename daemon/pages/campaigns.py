"""Campaigns: how far, how well, and what an operator does about one."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from aiohttp import web

from daemon.operator import campaign_standing, campaigns
from daemon.operator.campaign_report import EVERY_FORMULA, report_of
from daemon.operator.campaigns import Verb
from daemon.operator.lists import campaigns as listed
from daemon.operator.lists.pages import redacted
from daemon.pages.confirming import ask, confirmed
from daemon.pages.listing import reading
from daemon.pages.lists import Column, Filter, ListView, show
from daemon.pages.visit import Visit
from schemas.api import lists as models

CAMPAIGNS: Final = ListView(
    title="Campaigns",
    path="/campaigns",
    columns=[
        Column("name", "Campaign", href="/campaigns/{id}"),
        Column("status", "State", "state"),
        Column("provider", "Provider"),
        Column("template", "Template"),
        Column("category", "Category"),
        Column("rate", "A second", "number"),
        Column("created_at", "Made", "time"),
        Column("started_at", "Started", "time"),
        Column("finished_at", "Ended", "time"),
        Column("reason", "Why"),
    ],
    filters=[Filter("status", "State", ("draft", "running", "paused", "stopped", "done"))],
    yet="Make one by `ferryman campaign create` or POST /api/v1/campaigns: it is a draft until it is started here.",
)
TO_COME: Final = ("pending", "queued")
_VERBS: Final[dict[str, tuple[Verb, ...]]] = {
    "draft": ("start", "stop"),
    "running": ("pause", "stop"),
    "paused": ("resume", "stop"),
    "stopped": ("resume",),
}
"""What may be done with one, by how it stands."""

_WORDS: Final[dict[Verb, tuple[str, str]]] = {
    "start": ("send messages", "started"),
    "resume": ("send messages", "resumed"),
    "stop": ("take back messages that have not gone out", "stopped"),
    "pause": ("pause", "paused"),
}
"""How the question calls it, and the answer."""


async def page(visit: Visit) -> web.Response:
    """All of them, the newest first."""
    return await show(visit, CAMPAIGNS, reading(visit, listed.page, models.CampaignFilter))


async def one(visit: Visit) -> web.Response:
    """How one stands; with `?live=off` the page stays as it is."""
    paused = visit.request.query.get("live") == "off"
    values = await _values(visit)
    offered = [
        verb for verb in _VERBS.get(values["one"]["status"], ()) if visit.may("POST", f"/campaigns/{{id}}/{verb}")
    ]
    return visit.page("campaign.html", paused=paused, offered=offered, **values)


async def live(visit: Visit) -> web.StreamResponse:
    """What changes on it."""
    id = (await _values(visit))["one"]["id"]
    return await visit.stream(f"campaign:{id}:{visit.zone.key}", partial(_part, visit))


async def start(visit: Visit) -> web.Response:
    """Let a draft send."""
    return await _move(visit, "start")


async def pause(visit: Visit) -> web.Response:
    """Hold it up."""
    return await _move(visit, "pause")


async def resume(visit: Visit) -> web.Response:
    """Let it go on."""
    return await _move(visit, "resume")


async def stop(visit: Visit) -> web.Response:
    """End it."""
    return await _move(visit, "stop")


async def report(visit: Visit) -> web.Response:
    """Every recipient as CSV, masked."""
    name = (await campaign_standing.find(visit.read, _name(visit)))["name"]
    return _csv(name, await report_of(campaign_standing.masked_report(visit.read, _name(visit)), EVERY_FORMULA))


async def whole_report(visit: Visit) -> web.Response:
    """Every recipient as CSV, with their phones; the audit log has who asked."""
    name = (await campaign_standing.find(visit.read, _name(visit)))["name"]
    rows = campaign_standing.report(visit.pool, _name(visit), reveal=True, actor=visit.by)
    return _csv(name, await report_of(rows, EVERY_FORMULA))


async def _move(visit: Visit, verb: Verb) -> web.Response:
    """Raises: NoSuchCampaign, NotMoved, Unusable."""
    found = await campaign_standing.show(visit.pool, _name(visit))
    what, done = _WORDS[verb]
    back = f"/campaigns/{found['id']}"
    if verb != "pause" and await confirmed(visit) is None:
        campaigns.require_movable(found["status"], verb)
        to_come = sum(found["counts"][status] for status in TO_COME)
        return await ask(visit, what, count=to_come, upto=None, back=back, typed=verb != "stop")
    await campaigns.move(visit.pool, visit.in_force.settings, found["id"], verb, visit.by)
    return visit.see(back, f"The campaign is {done}.")


async def _part(visit: Visit) -> str:
    return visit.part("campaign_part.html", **await _values(visit))


async def _values(visit: Visit) -> dict[str, Any]:
    """Raises: NoSuchCampaign."""
    one = await campaign_standing.show(visit.read, _name(visit))
    errors = [error | {"error": redacted(error["error"])} for error in one["errors"]]
    waits = [wait | {"why": redacted(wait["why"])} for wait in one["waits"]]
    open = sum(one["counts"][status] for status in (*TO_COME, "sending"))
    shown = {**one, "errors": errors, "waits": waits, "reason": redacted(one["reason"])}
    return {"one": shown, "ended": one["recipients"] - open, "now": datetime.now(UTC)}


def _name(visit: Visit) -> str:
    return visit.request.match_info["id"]


def _csv(name: str, text: str) -> web.Response:
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in name)[:80]
    headers = {"Content-Disposition": f'attachment; filename="campaign-{plain}.csv"'}
    return web.Response(text=text, content_type="text/csv", charset="utf-8", headers=headers)
