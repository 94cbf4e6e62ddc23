"""How the records of this server stand: what waits for the upstream, what failed, what was done today. Counts alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from adapters.postgres.pool import Pool
from adapters.postgres.records import upstream
from adapters.postgres.records.counts import count_records
from adapters.postgres.records.counts import counts as counted
from daemon.bus.metrics import OF_ALL
from daemon.bus.worker import Duty, Outside
from daemon.records.edge.telling import sentence
from daemon.settings.model import Settings
from daemon.telemetry.declared import Declared
from schemas.principals import Principal

EVERY_S: Final = 5.0

QUEUE: Final = "ferryman_sync_queue"
OLDEST: Final = "ferryman_sync_oldest_pending_seconds"
OPEN: Final = "ferryman_sync_conflicts_open"
ONLINE: Final = "ferryman_sync_online"

METRICS: Final = (
    Declared(
        QUEUE,
        "gauge",
        f"Operations of this edge for its upstream, by their state. {OF_ALL}",
        ("state",),
        values={"state": ("pending", "failed", "conflict")},
    ),
    Declared(OLDEST, "gauge", f"How long the oldest operation has waited for the upstream; 0: none waits. {OF_ALL}"),
    Declared(OPEN, "gauge", f"Conflicts of records that wait for a person. {OF_ALL}"),
    Declared(ONLINE, "gauge", f"1 where the last exchange of this edge with its upstream was one, else 0. {OF_ALL}"),
)


def today_began(now: datetime, zone: str) -> datetime:
    """When the day of *now* began in *zone*."""
    return now.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


async def stats(pool: Pool, settings: Settings, now: datetime, reader: Principal | None = None) -> dict[str, Any]:
    """As JSON. *reader*: the operations and records that concern them alone; None: all.

    A server without an upstream has nothing that waits, and is where its replicas sync to: it is online, it tells what
    was applied here today, and when a replica has last pushed.
    """
    counts = await counted(pool, today_began(now, settings.ferryman_timezone), reader)
    standing = await upstream.read(pool)
    is_edge = settings.sync_upstream_url is not None
    oldest_s = None if counts.oldest is None else max(0, round((now - counts.oldest).total_seconds()))
    error = standing.last_error if is_edge else None
    return {
        "pending": counts.pending,
        "oldest_pending_s": oldest_s,
        "failed": counts.failed,
        "conflicts": counts.conflicts + counts.upstream_conflicts,
        "synced_today": counts.synced if is_edge else counts.applied,
        "last_sync": standing.last_sync_at if is_edge else counts.pushed,
        "last_error": None if error is None else sentence(error),
        "online": bool(standing.online) if is_edge else True,
        "records": await count_records(pool, reader),
    }


def duty(outside: Outside) -> Duty:
    """Measures all of it for the metrics."""

    async def measure() -> None:
        now = outside.now()
        counts = await counted(outside.pool, now)
        waits = {"pending": counts.pending, "failed": counts.failed, "conflict": counts.upstream_conflicts}
        for state, count in waits.items():
            outside.metrics.set(QUEUE, count, {"state": state})
        oldest_s = 0.0 if counts.oldest is None else (now - counts.oldest).total_seconds()
        outside.metrics.set(OLDEST, max(0.0, oldest_s))
        outside.metrics.set(OPEN, counts.conflicts)
        if outside.settings.sync_upstream_url is not None:
            outside.metrics.set(ONLINE, 1 if (await upstream.read(outside.pool)).online else 0)

    return Duty("measures-records", measure, EVERY_S)
