"""Templates: what the providers have approved, and reading their lists now."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from daemon.operator import templates
from daemon.operator.lists import templates as listed
from daemon.operator.lists.pages import redacted
from daemon.pages.listing import reading
from daemon.pages.lists import Column, Filter, ListView, show
from daemon.pages.visit import Visit
from schemas.api import lists as models

TEMPLATES: Final = ListView(
    title="Templates",
    path="/templates",
    columns=[
        Column("provider", "Provider"),
        Column("account", "Account"),
        Column("name", "Template"),
        Column("language", "Language"),
        Column("category", "Category"),
        Column("status", "State", "state"),
        Column("quality", "Quality"),
        Column("synced_at", "Read", "time"),
        Column("gone_at", "Gone since", "time"),
    ],
    filters=[Filter("provider", "Provider"), Filter("status", "State", hint="APPROVED")],
    yet="Set up a provider that has templates, then read its list.",
)


async def page(visit: Visit) -> web.Response:
    """Templates, by their names."""
    return await show(visit, TEMPLATES, reading(visit, listed.page, models.TemplateFilter), template="templates.html")


async def sync(visit: Visit) -> web.Response:
    """Read the lists of all providers that are configured, and say what became of each."""
    outcomes = await templates.read_lists(visit.pool, visit.in_force, visit.bus.redis, None, visit.by, dry_run=False)
    return visit.see(TEMPLATES.path, " ".join(map(_told, outcomes)))


def _told(outcome: templates.Outcome) -> str:
    if outcome.problem is not None:
        return f"{outcome.provider}: the list could not be read: {redacted(outcome.problem)}."
    found = templates.counts([outcome])
    changes = ", ".join(f"{found[what]:,} {what}" for what in ("new", "changed", "gone"))
    return f"{outcome.provider}: {found['total']:,} templates: {changes}."
