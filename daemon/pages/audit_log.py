"""What people and the daemon have done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from daemon.operator.lists import audit_log
from daemon.operator.lists.pages import Page, Position
from daemon.pages.lists import Column, Filter, ListView, filter_of, show
from daemon.pages.visit import Visit
from schemas.api.lists import AuditFilter

VIEW: Final = ListView(
    title="Audit log",
    path="/audit-log",
    columns=[
        Column("at", "When", "time"),
        Column("actor", "Who"),
        Column("action", "Did"),
        Column("subject", "To"),
        Column("detail", "More", "json"),
    ],
    filters=[
        Filter("actor", "Who"),
        Filter("action", "Did", hint="replay.begun"),
        Filter("subject", "To", hint="replay:…"),
        Filter("from", "From", hint="2031-02-14T00:00:00Z"),
        Filter("to", "To before", hint="2031-02-15T00:00:00Z"),
    ],
    yet="Everything that somebody does here, by the API or by a command is written down here.",
)


async def page(visit: Visit) -> web.Response:
    """The newest first."""

    async def read(given: Mapping[str, str], cursor: str | None) -> Page:
        return await audit_log.page(visit.read, filter_of(AuditFilter, given), Position(cursor))

    return await show(visit, VIEW, read)
