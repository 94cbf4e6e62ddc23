"""Refused requests: why a webhook is refused, and once more, where its sender was proven."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from adapters.registry import SOURCES
from daemon.operator import masked, refused
from daemon.operator.faults import Conflict, Unusable
from daemon.operator.lists import refused as listed
from daemon.pages.confirming import ask, confirmed
from daemon.pages.listing import number_in, reading
from daemon.pages.lists import Column, Filter, ListView, show
from daemon.pages.visit import Visit
from schemas.api import lists as models

REFUSED: Final = ListView(
    title="Refused requests",
    path="/refused",
    columns=[
        Column("number", "Request", href="/refused/{number}"),
        Column("at", "When", "time"),
        Column("source", "Source"),
        Column("reason", "Why"),
        Column("status", "Answer"),
        Column("path", "Path"),
        Column("remote", "From"),
        Column("suppressed", "Similar before", "number"),
        Column("sent_again_at", "Sent again", "time"),
    ],
    filters=[
        Filter("source", "Source"),
        Filter("reason", "Why"),
        Filter("from", "From", hint="2026-01-31T08:00Z"),
        Filter("to", "Before", hint="2026-02-01T08:00Z"),
    ],
    yet="What a webhook sends and cannot be taken comes here, with the reason. There is nothing to do.",
    key="number",
)


async def page(visit: Visit) -> web.Response:
    """The newest, and what most of them were refused for."""
    groups = await refused.groups(visit.read)
    return await show(
        visit, REFUSED, reading(visit, listed.page, models.RefusedFilter), template="refused.html", groups=groups
    )


async def one(visit: Visit) -> web.Response:
    """One request; what it said is masked until it is revealed."""
    return await _shown(visit, number_in(visit, "refused request"))


async def send(visit: Visit) -> web.Response:
    """Take it after all, as it was or with a mended body."""
    number = number_in(visit, "refused request")
    body = (await visit.form()).get("body", "")
    kept = await refused.find(visit.pool, number)
    try:
        mended = body.encode(errors="replace") if body.strip() else None
        events = refused.events_of(kept, SOURCES, visit.now, body=mended)
    except (Unusable, Conflict) as exc:
        return await _shown(visit, number, wrong=f"{exc}.", text=body)
    known = await refused.known(visit.pool, events)
    if await confirmed(visit) is None:
        skipped = [{"reason": "it is kept already, and does nothing again", "count": len(known)}] if known else []
        return await ask(
            visit,
            "take events of this request",
            count=len(events),
            upto=None,
            skipped=skipped,
            back=f"/refused/{number}",
        )
    await refused.send(visit.pool, number, events, visit.by)
    return visit.see(f"/refused/{number}", f"Sent again, as {len(events):,} events.")


async def _shown(visit: Visit, number: int, *, wrong: str = "", text: str = "") -> web.Response:
    kept, subject = await refused.find(visit.read, number), f"refused:{number}"
    revealed = subject in visit.revealed
    whole = refused.whole_document(kept)
    sendable = kept.request.body is not None and kept.sent_again_at is None
    values = {"one": whole if revealed else masked.refused(whole), "subject": subject, "revealed": revealed}
    status = 422 if wrong else 200
    return visit.page("refused_one.html", status=status, sendable=sendable, wrong=wrong, text=text, **values)
