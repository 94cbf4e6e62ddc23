"""Show one person unmasked, for ten minutes and with a reason. The audit log has who, whom and why."""

from __future__ import annotations

from aiohttp import web

from daemon.operator import logins
from daemon.pages.visit import Visit


async def reveal(visit: Visit) -> web.Response:
    """Reveal the subject of the form, and go back."""
    form = await visit.form()
    await logins.reveal(visit.pool, visit.token, visit.by, form.get("subject", ""), form.get("reason", ""))
    return visit.see(visit.safe_next(form.get("back", "/")), "Shown for ten minutes. The audit log has it.")
