"""How long data are kept, as a report: what is older than the settings keep, and goes with the next night's duty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.postgres import old_notes
from adapters.postgres.bus import retention

if TYPE_CHECKING:
    from adapters.postgres.pool import Pool
    from daemon.settings.model import Settings


async def report(pool: Pool, settings: Settings) -> list[dict[str, Any]]:
    """Each kind with its days (0: for ever) and how many rows would go now."""
    notes = settings.kept_days("notes")
    return [
        {"kind": kind, "days": days, "rows": await retention.count(pool, kind, days) if days else 0}
        for kind, days in ((kind, settings.kept_days(kind)) for kind in retention.KINDS)
    ] + [{"kind": "notes", "days": notes, "rows": await old_notes.count(pool, notes) if notes else 0}]
