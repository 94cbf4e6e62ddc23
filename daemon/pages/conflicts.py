"""Values of records that met: base, ours and theirs side by side, and deciding one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from aiohttp import web

from adapters.postgres.operator.record_conflicts import Wanted
from daemon.operator import masking, records_conflicts
from daemon.operator.faults import NotThere, Unusable
from daemon.operator.lists.cursors import BadCursor
from daemon.operator.lists.pages import Page
from daemon.operator.records_conflicts import NotAllowed
from daemon.pages.confirming import ask, confirmed
from daemon.pages.lists import Column, Filter, ListView, show
from daemon.pages.visit import Visit
from daemon.records.deciding.resolving import Take
from daemon.records.pushing.pushes import Refused

PATH: Final = "/records"
SHOWN: Final = 50
SIDES: Final = ("base", "ours", "theirs")
OF_A_FIELD: Final = "field."
"""How the fields of a merge begin: each says from which side its value is."""

_MOST: Final = 2**63 - 1

VIEW: Final = ListView(
    title="Records",
    path=PATH,
    columns=[
        Column("id", "Conflict", href="/records/conflicts/{id}"),
        Column("created_at", "Arose", "time"),
        Column("model", "Model"),
        Column("record_id", "Record", href="/records/of/{model}/{record_id}"),
        Column("over", "Over"),
        Column("strategy", "Rule"),
        Column("decision", "Decision", "state"),
        Column("decided_by", "By"),
        Column("user_id", "Of"),
    ],
    filters=[
        Filter("open", "Which", ["true", "false"], hint="true: those that wait for a person"),
        Filter("model", "Model"),
    ],
    intro="Conflicts: two replicas have written the same field of a record.",
    yet="A conflict is here once two replicas have written the same field, and a rule or a person has to choose.",
)


async def listed(visit: Visit) -> web.Response:
    """The newest first."""

    async def read(given: Mapping[str, str], cursor: str | None) -> Page:
        wanted = Wanted(given.get("open") == "true", given.get("model"), SHOWN + 1, _after(cursor))
        found = await records_conflicts.listed(visit.read, visit.principal, wanted)
        rows = [one | {"over": ", ".join(one["fields"]) or one["operation"]} for one in found[:SHOWN]]
        return Page(rows, str(rows[-1]["id"]) if len(found) > SHOWN else None, None)

    waiting = await records_conflicts.waiting_upstream(visit.read)
    return await show(visit, VIEW, read, template="conflicts.html", waiting=waiting, upstream=_upstream(visit))


async def page(visit: Visit) -> web.Response:
    """One of them. Its values are shown to who has revealed them."""
    one = await records_conflicts.shown(visit.read, visit.principal, _id(visit), _upstream(visit))
    subject = f"conflict:{one['id']}"
    return visit.page("conflict.html", one=one, rows=_rows(one, subject in visit.revealed), subject=subject)


async def decide(visit: Visit) -> web.Response:
    """Take one side, or for each field one. What is chosen is written, and reaches all replicas."""
    id, form = _id(visit), await visit.form()
    back = f"/records/conflicts/{id}"
    take, version = form.get("take", ""), form.get("version", "")
    if take not in records_conflicts.TAKES or not (version == "" or _is_number(version)):
        raise web.HTTPBadRequest(text="This is no form of ours.")
    one = await records_conflicts.shown(visit.read, visit.principal, id, _upstream(visit))
    fields = _merged(one, form) if take == "merge" else None
    if await confirmed(visit) is None:
        what = f"decide conflict {id} for good ({take}), and write it to every replica:"
        return await ask(visit, what, count=1, upto=None, back=back)
    try:
        async with visit.frame.deciding:
            plan = await records_conflicts.plan(
                visit.pool, visit.principal, id, cast(Take, take), fields, _upstream(visit)
            )
            seen = int(version) if version else None
            await records_conflicts.resolve(visit.pool, visit.records, plan, by=visit.by, version=seen)
    except NotAllowed as exc:
        return visit.error(403, f"{exc}.")
    except Refused as exc:
        return visit.error(503, f"The records do not take it now: {exc}.")
    return visit.see(back, "Decided: every replica has it by its next pull.")


def _merged(one: Mapping[str, Any], form: Mapping[str, str]) -> dict[str, Any]:
    """What to write: each field from the side that the form says. Raises: Unusable."""
    chosen: dict[str, Any] = {}
    for given, side in form.items():
        name = given.removeprefix(OF_A_FIELD)
        if name == given or not side:
            continue
        values = one[side] if side in SIDES else None
        if values is None or name not in values:
            raise Unusable(f"there is no value of this field in {side if side in SIDES else 'that side'}: take another")
        chosen[name] = values[name]
    return chosen


def _rows(one: Mapping[str, Any], revealed: bool) -> Sequence[dict[str, Any]]:
    """Each field with its values, those first that have met."""
    now = one["record"]["data"] if one["record"] else None
    sides = {**{side: one[side] for side in SIDES}, "now": now}
    names = dict.fromkeys([*one["fields"], *sorted({name for values in sides.values() for name in values or ()})])
    return [
        {
            "name": name,
            "met": name in one["fields"],
            "there": [side for side in SIDES if name in (one[side] or ())],
            "values": {side: _shown(name, values, revealed) for side, values in sides.items()},
        }
        for name in names
    ]


def _shown(name: str, values: Mapping[str, Any] | None, revealed: bool) -> str:
    if values is None or name not in values:
        return "—"
    value = values[name] if revealed else masking.raw(values[name], name)
    return "null" if value is None else str(value)


def _id(visit: Visit) -> int:
    """Raises: NotThere."""
    text = visit.request.match_info["id"]
    if not _is_number(text):
        raise NotThere("there is no conflict with this id: an id is a number")
    return int(text)


def _after(cursor: str | None) -> int | None:
    """Raises: BadCursor."""
    if cursor is None:
        return None
    if not _is_number(cursor):
        raise BadCursor
    return int(cursor)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _MOST


def _upstream(visit: Visit) -> str | None:
    return visit.in_force.settings.sync_upstream_url
