"""Messages, and those of them that may have been sent: what is known of each, and what a person has found out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from daemon.operator import masked, messages, sending
from daemon.operator import uncertain as doubtful
from daemon.operator.faults import NotThere
from daemon.operator.lists import messages as listed
from daemon.operator.lists.pages import Page, Position
from daemon.operator.uncertain import NOT_LOOKED, Verdict
from daemon.pages.confirming import ask, confirmed
from daemon.pages.listing import asked, reading, told
from daemon.pages.lists import MOST_TICKED, Column, Filter, ListView, Selection, Verb, selected, show
from daemon.pages.visit import Visit
from schemas.api import lists as models

STATES: Final = (
    "queued", "sending", "sent", "delivered", "read", "played", "failed", "uncertain", "skipped", "canceled",
    "received",
)  # fmt: skip
MORE: Final = "at most 100 at a time: ask again for the rest"

MESSAGES: Final = ListView(
    title="Messages",
    path="/messages",
    columns=[
        Column("id", "Message", href="/messages/{id}"),
        Column("created_at", "When", "time"),
        Column("phone", "Person"),
        Column("direction", "Way"),
        Column("provider", "Provider"),
        Column("kind", "Kind"),
        Column("status", "State", "state"),
        Column("error_code", "Code"),
        Column("error", "Error"),
    ],
    filters=[
        Filter("status", "State", STATES),
        Filter("provider", "Provider"),
        Filter("direction", "Way", ("out", "in")),
        Filter("from", "From", hint="2026-01-31T08:00Z"),
        Filter("to", "Before", hint="2026-02-01T08:00Z"),
    ],
    yet="Messages come here when one is sent (`ferryman send`, the API, a campaign) or somebody writes.",
)
UNCERTAIN: Final = ListView(
    title="Uncertain messages",
    path="/messages/uncertain",
    columns=[
        Column("id", "Message", href="/messages/{id}"),
        Column("created_at", "When", "time"),
        Column("phone", "Person"),
        Column("provider", "Provider"),
        Column("kind", "Kind"),
        Column("error", "What came back"),
        Column("found", "Found at the provider"),
        Column("evidence", "Evidence"),
        Column("attempts", "Attempts", "number"),
    ],
    filters=[Filter("provider", "Provider")],
    verbs=[Verb("/messages/uncertain/sent", "It was sent"), Verb("/messages/uncertain/again", "Send again")],
    yet="A message comes here when its sending was cut off, so that nobody knows whether the person has it.",
    intro="Look at the provider or ask the person first. What is sent again may come twice.",
)


async def page(visit: Visit) -> web.Response:
    """Messages of either direction, the newest first."""
    return await show(visit, MESSAGES, reading(visit, listed.page, models.MessageFilter), template="messages.html")


async def uncertain(visit: Visit) -> web.Response:
    """Those that may have been sent, with what is known of each."""
    return await show(visit, UNCERTAIN, reading(visit, _uncertain, models.UncertainFilter), template="messages.html")


async def one(visit: Visit) -> web.Response:
    """One message; the person and the text masked until they are revealed."""
    id = _id(visit.request.match_info["id"])
    message, subject = await sending.show(visit.read, id), f"message:{id}"
    waits = await messages.waits_for(visit.read, message, visit.now)
    shown = message if subject in visit.revealed else masked.message(message)
    return visit.page("message.html", message=shown, subject=subject, waits=waits)


async def sent(visit: Visit) -> web.Response:
    """The persons have what was chosen."""
    return await _settle(visit, "sent", "take as sent", "taken as sent")


async def again(visit: Visit) -> web.Response:
    """The persons do not have what was chosen."""
    return await _settle(visit, "again", "send messages again", "will be sent again")


async def _uncertain(pool: Any, wanted: models.UncertainFilter, at: Position) -> Page:
    found = await listed.uncertain(pool, wanted, at)
    return found._replace(rows=[_with_evidence(row) for row in found.rows])


def _with_evidence(row: Mapping[str, Any]) -> dict[str, Any]:
    """*row* with the parts of its evidence as they are shown."""
    known = row["evidence"] or {"at": None, "found": None, "text": NOT_LOOKED}
    found = {True: "yes", False: "no"}.get(known["found"], known["found"])
    return {**row, "found": found or "not known", "evidence": known["text"]}


async def _settle(visit: Visit, verdict: Verdict, what: str, done: str) -> web.Response:
    chosen = await selected(visit, UNCERTAIN)
    ids = await _ids(visit, chosen)
    yes = await confirmed(visit)
    if yes is None:
        plan = await doubtful.settle_all(visit.pool, ids[:MOST_TICKED], verdict, visit.by, visit.now, dry_run=True)
        more = [{"reason": MORE, "count": len(ids) - MOST_TICKED}] if len(ids) > MOST_TICKED else []
        return await ask(
            visit,
            what,
            count=plan["done"],
            upto=None,
            skipped=[*plan["skipped"], *more],
            back=UNCERTAIN.path,
            typed=verdict == "again",
            ids=[str(id) for id in ids[:MOST_TICKED]],
        )
    did = await doubtful.settle_all(visit.pool, ids, verdict, visit.by, visit.now, dry_run=False)
    return visit.see(UNCERTAIN.path, told(f"{did['done']:,} {done}.", did["skipped"]))


async def _ids(visit: Visit, chosen: Selection) -> list[UUID]:
    """All that match have no last one, as an older message may become uncertain later: so they are named one by one."""
    if not chosen.everything:
        return [_id(id) for id in chosen.ids]
    if await confirmed(visit) is not None:
        raise web.HTTPBadRequest(text="This is no form of ours.")
    provider = asked(models.UncertainFilter, chosen.filters).provider
    return [one["id"] for one in await doubtful.listed(visit.pool) if provider in (None, one["provider"])]


def _id(text: str) -> UUID:
    """Raises: NotThere."""
    try:
        return UUID(text)
    except ValueError:
        raise NotThere("there is no such message") from None
