"""Dead letters: what breaks and how much, by its fault; inside a group its events; sent again, mended, or discarded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from adapters.json_guard import NotJson
from adapters.postgres.operator.dead_letters import LetterFilter
from adapters.postgres.pool import Pool
from daemon.operator import dead_letters, masked
from daemon.operator.dead_letters import BulkPlan
from daemon.operator.faults import Conflict, Unusable
from daemon.operator.lists import dead_letters as listed
from daemon.operator.lists.pages import Page
from daemon.pages.confirming import ask, confirmed
from daemon.pages.listing import asked, number_in, reading, told
from daemon.pages.lists import Column, Filter, ListView, Selection, Verb, selected, show
from daemon.pages.visit import Visit
from schemas.api import lists as models

MOST_GROUPS: Final = 200
NOT_OPEN: Final = "it is not open, or not there"

GROUPS: Final = ListView(
    title="Dead letters",
    path="/dead-letters",
    columns=(),
    filters=[Filter("worker", "Worker"), Filter("class", "Error"), Filter("text", "Text", hint="a part of the error")],
    yet="What no worker could handle comes here, grouped by worker and fault. There is nothing to do.",
)
LETTERS: Final = ListView(
    title="Events of dead letters",
    path="/letters",
    columns=[
        Column("number", "Letter", href="/letters/{number}"),
        Column("buried_at", "When", "time"),
        Column("worker", "Worker"),
        Column("state", "State", "state"),
        Column("error_class", "Error"),
        Column("error_text", "Text"),
        Column("attempts", "Attempts", "number"),
        Column("type", "Event"),
        Column("key", "Key"),
    ],
    filters=[
        Filter("worker", "Worker"),
        Filter("class", "Error"),
        Filter("state", "State", ("open", "retried", "discarded")),
        Filter("fingerprint", "Fault"),
    ],
    verbs=[Verb("/letters/retry", "Retry"), Verb("/letters/discard", "Discard")],
    key="number",
    yet="What no worker could handle comes here. There is nothing to do.",
)


@dataclass(frozen=True, slots=True)
class _Bulk:
    """A verb for many. *what*: in the question. *done*: in the answer."""

    what: str
    done: str
    plan: Callable[[Pool, LetterFilter], Awaitable[BulkPlan]]
    do: Callable[[Pool, LetterFilter, int, str, int], Awaitable[Mapping[str, Any]]]


_RETRY: Final = _Bulk("retry dead letters", "sent again", dead_letters.plan_retry, dead_letters.retry_all)
_DISCARD: Final = _Bulk("discard dead letters", "discarded", dead_letters.plan_discard, dead_letters.discard_all)


async def groups(visit: Visit) -> web.Response:
    """Open letters by what is wrong, the largest group first."""

    async def read(given: Mapping[str, str], cursor: str | None) -> Page:
        wanted = asked(models.GroupFilter, given)
        chosen = LetterFilter(worker=wanted.worker, error_class=wanted.error_class, text=wanted.text)
        found = await dead_letters.list_groups(visit.read, chosen)
        return Page(found[:MOST_GROUPS], None, None)

    return await show(visit, GROUPS, read, template="dead_letters.html")


async def page(visit: Visit) -> web.Response:
    """Letters, the newest first."""
    return await show(visit, LETTERS, reading(visit, listed.page, models.LetterFilter))


async def one(visit: Visit) -> web.Response:
    """One letter; its data masked until they are revealed."""
    return await _shown(visit, number_in(visit, "dead letter"))


async def retry(visit: Visit) -> web.Response:
    """Send what was chosen again. One whose worker writes to nobody needs no question."""
    return await _act(visit, _RETRY, asks=False)


async def discard(visit: Visit) -> web.Response:
    """Close what was chosen for good."""
    return await _act(visit, _DISCARD, asks=True)


async def edit(visit: Visit) -> web.Response:
    """Send one letter again with other data."""
    number = number_in(visit, "dead letter")
    letter = await dead_letters.show(visit.pool, number)
    if letter["state"] != "open":
        raise Conflict(f"dead letter {number} is not open any more")
    text = (await visit.form()).get("data", "")
    try:
        event = await dead_letters.edited_event(visit.pool, number, text.encode(errors="replace"))
    except (Unusable, NotJson) as exc:
        return await _shown(visit, number, wrong=f"{exc}.", text=text)
    if letter["worker"] in dead_letters.REACHING and await confirmed(visit) is None:
        return await ask(visit, "retry this dead letter with other data", count=1, upto=None, back=f"/letters/{number}")
    done = await dead_letters.retry(visit.pool, [number], visit.by, lambda done, of: None, event=event)
    dead_letters.require_all(done, 1)
    return visit.see(f"/letters/{number}", "Sent again with other data.")


async def _shown(visit: Visit, number: int, *, wrong: str = "", text: str | None = None) -> web.Response:
    letter, subject = await dead_letters.show(visit.read, number), f"letter:{number}"
    revealed = subject in visit.revealed
    document = letter if revealed else masked.letter(letter)
    values = {"letter": document, "subject": subject, "revealed": revealed, "wrong": wrong, "text": text}
    return visit.page("letter.html", status=422 if wrong else 200, **values)


async def _act(visit: Visit, verb: _Bulk, *, asks: bool) -> web.Response:
    chosen = await selected(visit, LETTERS)
    wanted = _filter(chosen)
    yes, back = await confirmed(visit), _back(chosen)
    plan = await verb.plan(visit.pool, wanted)
    if yes is None:
        one = plan.count == 1 and not chosen.everything
        if asks or not one or await dead_letters.reaches_somebody(visit.pool, wanted):
            missing = len(set(chosen.ids)) - plan.count - sum(plan.skipped.values()) if not chosen.everything else 0
            left = {**plan.skipped, NOT_OPEN: missing}
            skipped = [{"reason": why, "count": count} for why, count in left.items() if count]
            return await ask(visit, verb.what, count=plan.count, upto=plan.upto, skipped=skipped, back=back)
    elif yes.upto is None:
        raise web.HTTPBadRequest(text="This is no form of ours.")
    upto, planned = (plan.upto, plan.count) if yes is None or yes.upto is None else (yes.upto, yes.count)
    did = await verb.do(visit.pool, wanted, upto, visit.by, planned)
    return visit.see(back, told(f"{did['done']:,} {verb.done}.", did["skipped"]))


def _filter(chosen: Selection) -> LetterFilter:
    """Raises: Unusable, Conflict."""
    if not chosen.everything:
        if not all(id.isascii() and id.isdigit() and len(id) < 19 for id in chosen.ids):
            raise web.HTTPBadRequest(text="This is no selection of this list.")
        return LetterFilter(ids=tuple(map(int, chosen.ids)))
    wanted = asked(models.LetterFilter, chosen.filters)
    if wanted.state not in (None, "open"):
        raise Conflict("only letters that are open can be retried or discarded: filter by the state open")
    return LetterFilter(worker=wanted.worker, error_class=wanted.error_class, fingerprint=wanted.fingerprint)


def _back(chosen: Selection) -> str:
    return GROUPS.path if chosen.everything or len(chosen.ids) > 1 else f"{LETTERS.path}/{chosen.ids[0]}"
