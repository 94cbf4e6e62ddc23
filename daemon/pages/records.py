"""Records: one of them with its history, and an edge's operations for its upstream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from daemon.operator import masking, records
from daemon.operator.faults import NotThere
from daemon.operator.lists.pages import Page, redacted
from daemon.operator.records import NoRecord
from daemon.pages.lists import Column, Filter, ListView, Verb, selected, show
from daemon.pages.visit import Visit

QUEUE: Final = "/records/queue"
SHOWN: Final = 100
"""Operations that the queue's page has, the oldest of their state."""

VIEW: Final = ListView(
    title="Records: for the upstream",
    path=QUEUE,
    key="op_id",
    columns=[
        Column("created_at", "Since", "time"),
        Column("state", "State", "state"),
        Column("operation", "What"),
        Column("model", "Model"),
        Column("record_id", "Record", href="/records/of/{model}/{record_id}"),
        Column("user_id", "Of"),
        Column("retry_count", "Tries", "number"),
        Column("next_at", "Next", "time"),
        Column("error", "Error"),
    ],
    filters=[Filter("state", "State", records.STATES), Filter("model", "Model")],
    verbs=[Verb("/records/queue/retry", "Retry failed ones")],
    intro=f"What this edge has for its upstream, the oldest {SHOWN} that fit; without a state, what is open.",
    yet="An edge has operations here until its upstream has taken them: a server without SYNC_UPSTREAM_URL has none.",
)


async def queue(visit: Visit) -> web.Response:
    """The operations in a state."""

    async def read(given: Mapping[str, str], cursor: str | None) -> Page:
        states = [given["state"]] if "state" in given else records.OPEN
        found = await records.queued(visit.read, states, given.get("model"), SHOWN)
        return Page([one | {"error": redacted(one["error"])} for one in found], None, None)

    return await show(visit, VIEW, read)


async def retry(visit: Visit) -> web.Response:
    """Let failed operations go out again: those that are ticked, or all of the model."""
    chosen = await selected(visit, VIEW)
    if chosen.everything:
        done = len(await records.put_back(visit.pool, op_id=None, model=chosen.filters.get("model"), actor=visit.by))
    else:
        ids = [_uuid(text) for text in chosen.ids]
        done = sum([len(await records.put_back(visit.pool, op_id=id, model=None, actor=visit.by)) for id in ids])
        if left := len(ids) - done:
            return visit.see(QUEUE, f"{done:,} go out again. {left:,} had not failed, and stay as they are.")
    return visit.see(QUEUE, f"{done:,} go out again.")


async def page(visit: Visit) -> web.Response:
    """One record. What it holds is shown to who has revealed it."""
    model, id = visit.request.match_info["model"], visit.request.match_info["id"]
    try:
        told = await records.shown(visit.read, model, id)
    except NoRecord as exc:
        raise NotThere(str(exc)) from None
    subject = f"record:{model}/{id}"
    record: dict[str, Any] | None = told["record"]
    if record is not None and subject not in visit.revealed:
        record = record | {"data": masking.raw(record["data"]), "base": masking.raw(record["base"])}
    timeline = [one | {"text": redacted(one["text"])} for one in reversed(told["timeline"])]
    return visit.page("record.html", model=model, id=id, record=record, timeline=timeline, subject=subject)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise web.HTTPBadRequest(text="This is no selection of this list.") from None
