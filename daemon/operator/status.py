"""The status document: which process owns what, what waits for each worker, what is off or paused."""

from __future__ import annotations

from typing import Any

from daemon.operator import archive, members, sweeps, upstream
from daemon.operator.inspection import Inspection, inspect_installation
from daemon.operator.senders import fallback, senders
from daemon.settings.model import Settings
from daemon.workers import WORKERS
from schemas.errors import FerrymanError


class StoresAway(FerrymanError):
    """Neither store answers, so nothing is known."""


async def read_status(settings: Settings) -> dict[str, Any]:
    """Inspect the installation; its status as JSON. Raises: StoresAway."""
    inspection = await inspect_installation(settings, count_open=True)
    if inspection.redis is None and inspection.postgres is None:
        raise StoresAway("; ".join(inspection.away.values()) or inspection.none_yet)
    return document(inspection)


def document(inspection: Inspection) -> dict[str, Any]:
    """The status as JSON; null: not known."""
    redis, postgres, tables = inspection.redis, inspection.postgres, inspection.tables
    return {
        "version": inspection.version,
        "redis": None if redis is None else f"{redis.name} {redis.version}",
        "postgres": None if postgres is None else postgres.version,
        "away": inspection.away,
        "schema_lacks": 0 if postgres is None else len(postgres.pending),
        "partitions": inspection.partitions,
        "spool": None if tables is None else tables.spool,
        "outbox": None if tables is None else tables.outbox,
        "orders": inspection.orders,
        "members": _members(inspection),
        "processes": [members.document(member) for member in inspection.members],
        "providers": {name: provider.document() for name, provider in inspection.providers.items()},
        "credentials": members.credentials(inspection.members),
        "settings_differ": members.differences(inspection.shell, inspection.members),
        "processes_differ": members.disagreements(inspection.members),
        "workers": {worker.name: _worker(inspection, worker.name) for worker in WORKERS},
        "unattended": {worker: round(seconds) for worker, seconds in inspection.unattended.items() if seconds},
        "senders": {one.provider: one.document() for one in senders(inspection)},
        "fallback": fallback(inspection),
        "sources": inspection.sources_on,
        "sources_off": inspection.sources_off,
        "sweeps": sweeps.document(inspection),
        "archive": archive.document(inspection),
        "upstream": upstream.document(inspection),
        "paused": sorted(inspection.paused),
        "asked_to_wait": {provider: round(left_s) for provider, left_s in inspection.asked_to_wait.items()},
    }


def _members(inspection: Inspection) -> dict[str, Any] | None:
    """Process -> worker -> its partitions."""
    if (leases := inspection.leases) is None or inspection.unseen:
        return None
    owned: dict[str, dict[str, list[int]]] = {m: {w: [] for w in sorted(ws)} for m, ws in leases.members.items()}
    for (worker, partition), owner in sorted(leases.owners.items()):
        owned.setdefault(owner, {}).setdefault(worker, []).append(partition)
    return owned


def _worker(inspection: Inspection, name: str) -> dict[str, Any]:
    backlog, leases, tables = inspection.backlogs.get(name), inspection.leases, inspection.tables
    return {
        "state": _state(inspection, name),
        "owned": None if leases is None else sum(worker == name for worker, _ in leases.owners),
        "lag": None if backlog is None or backlog.unread < 0 else backlog.unread,
        "pending": None if backlog is None else backlog.pending,
        "open": inspection.open_events.get(name),
        "dead": None if tables is None else tables.dead_letters.get(name, 0),
        "oldest_seconds": None if backlog is None or backlog.oldest_s is None else round(backlog.oldest_s, 1),
    }


def _state(inspection: Inspection, name: str) -> str:
    """The state of a worker, by the lease table and by what the processes report; where none does, by this shell."""
    if name in inspection.paused:
        return "paused"
    if inspection.leases is not None and any(name in workers for workers in inspection.leases.members.values()):
        return "running"
    if name in inspection.workers_off:
        return f"off: {inspection.workers_off[name]}"
    return "not known" if inspection.leases is None or inspection.unseen else "no process runs it"
