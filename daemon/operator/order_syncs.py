"""Bulk syncs that this process runs behind its answers: begun once by whoever asks, and how far each is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from adapters.postgres import audit_log
from adapters.postgres.audit_log import Logged
from adapters.postgres.operator import sync_runs
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.operator import resync
from daemon.operator.faults import NotThere
from daemon.operator.resync import SyncPlan
from daemon.operator.runs import Runs
from daemon.settings.model import Settings

KIND: Final = "orders-sync"
NO_PHONE: Final = "it has no usable phone"
NOT_THERE: Final = "there is no such order"


def skipped(plan: SyncPlan, asked: int | None) -> dict[str, int]:
    """Why orders are left out of *plan*, and how many. *asked*: how many were asked for by their ids."""
    missing = 0 if asked is None else asked - plan.total - plan.without_phone
    return {NO_PHONE: plan.without_phone, NOT_THERE: missing}


async def start(
    pool: Pool, bus: Streams, settings: Settings, runs: Runs, plan: SyncPlan, actor: str, per_minute: float | None
) -> str:
    """Let *plan* be run by this process; returns the run's id. One runs at a time. Raises: Conflict."""
    runs.require_free(KIND)
    run = await resync.begin(pool, plan, actor)
    async with pool.acquire() as conn, conn.transaction():
        await audit_log.add(conn, [Logged(actor, "orders.synced", f"sync:{run.id}", {"count": plan.total})])
    work = resync.run(
        pool,
        bus,
        SyncPlan(plan.chosen, plan.total, plan.without_phone, run),
        actor,
        lambda told: None,
        at_once=settings.cgb_sync_batch_size,
        per_minute=per_minute,
    )
    runs.begin(KIND, run.id, work)
    return run.id


async def show(pool: Pool, runs: Runs, id: str) -> dict[str, Any]:
    """The run as JSON. *running*: whether this process is at it. Raises: NotThere."""
    row = await sync_runs.find(pool, id)
    if row is None:
        raise NotThere("there is no such sync: see GET /api/v1/syncs")
    return {**row, "running": runs.is_running(row["id"])}


def pace(run: Mapping[str, Any], now: datetime) -> dict[str, float | None]:
    """How fast *run* goes: orders in a minute since it began, and the seconds that are left at that; None: not known,
    or it has ended."""
    sent, took_s = run["sent"], ((run["finished_at"] or now) - run["started_at"]).total_seconds()
    if not sent or took_s <= 0:
        return {"per_minute": None, "left_s": None}
    left = None if run["finished_at"] else (run["total"] - sent) * took_s / sent
    return {"per_minute": round(sent * 60 / took_s, 1), "left_s": left}
