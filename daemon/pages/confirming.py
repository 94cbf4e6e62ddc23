"""The question before a verb that cannot be undone, or that reaches a person: it names the exact count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from daemon.pages.gate import CSRF_FIELD
from daemon.pages.lists import EVERYTHING, IDS
from daemon.pages.visit import Visit

COUNT: Final = "confirmed"
UPTO: Final = "upto"
TYPED: Final = "typed"


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What somebody has said yes to: *count* rows, up to the id *upto*; None: the verb names its rows."""

    count: int
    upto: int | None


async def confirmed(visit: Visit) -> Confirmed | None:
    """The yes in the form; None: the question was not asked yet. Raises: web.HTTPException, where the count that had to
    be typed is another."""
    form = await visit.form()
    if COUNT not in form:
        return None
    try:
        count, upto = int(form[COUNT]), int(form[UPTO]) if form.get(UPTO) else None
    except ValueError:
        raise web.HTTPBadRequest(text="This is no form of ours.") from None
    if TYPED in form and form[TYPED].strip().replace(",", "") != str(count):
        raise web.HTTPUnprocessableEntity(text=f"Nothing was done: {count:,} had to be typed.")
    return Confirmed(count, upto)


async def ask(
    visit: Visit,
    what: str,
    *,
    count: int,
    upto: int | None,
    skipped: Sequence[Mapping[str, Any]] = (),
    back: str,
    typed: bool = False,
    ids: Sequence[str] = (),
) -> web.Response:
    """The question: *what* will be done, as "retry dead letters", to *count* rows. The form has every field that came,
    so that the same verb gets it again with the yes. *skipped*: {reason, count} of what will not be done. *typed*: have
    the count typed, where it is more than one. *ids*: what all that match is, named one by one, where no id is the
    last of them."""
    await visit.form()
    ours = (CSRF_FIELD, COUNT, UPTO, TYPED)
    kept = [(name, value) for name in await visit.form() if name not in ours for value in await visit.values(name)]
    if ids:
        kept = [(name, value) for name, value in kept if name not in (EVERYTHING, IDS)] + [(IDS, id) for id in ids]
    return visit.page(
        "confirm.html",
        what=what,
        count=count,
        upto=upto,
        skipped=skipped,
        back=back,
        typed=typed and count > 1,
        kept=kept,
        action=visit.request.path,
    )
