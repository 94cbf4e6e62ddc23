"""`ferryman status`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daemon.cli.context import read_settings, run_async
from daemon.cli.tools import print_json, ranges
from daemon.operator.inspection import Facts, gathered
from daemon.workers import WORKERS
from schemas.errors import FerrymanError


class StoresAway(FerrymanError):
    """Nothing can be said, because no store answers."""


def status(json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Who works on what, what waits, and what is off and why. Breakers are known to each daemon alone: see its
    /metrics."""
    facts = run_async(gathered(read_settings(), counted=True))
    if facts.redis is None and facts.postgres is None:
        raise StoresAway("; ".join(facts.away.values()))
    found = document(facts)
    if json:
        print_json(found)
    else:
        _print(found)


def document(facts: Facts) -> dict[str, Any]:
    """The status as JSON; null: not known."""
    return {
        "version": facts.version,
        "redis": None if facts.redis is None else f"{facts.redis.name} {facts.redis.version}",
        "postgres": None if facts.postgres is None else facts.postgres.version,
        "away": facts.away,
        "partitions": facts.partitions,
        "spool": None if facts.tables is None else facts.tables.spool,
        "outbox": None if facts.tables is None else facts.tables.outbox,
        "members": _members(facts),
        "workers": {worker.name: _worker(facts, worker.name) for worker in WORKERS},
        "sources_off": facts.sources_off,
        "paused": sorted(facts.paused),
    }


def _members(facts: Facts) -> dict[str, Any] | None:
    """Process -> worker -> its partitions."""
    if facts.leases is None:
        return None
    owned: dict[str, dict[str, list[int]]] = {m: {w: [] for w in sorted(ws)} for m, ws in facts.leases.members.items()}
    for (worker, partition), owner in sorted(facts.leases.owners.items()):
        owned.setdefault(owner, {}).setdefault(worker, []).append(partition)
    return owned


def _worker(facts: Facts, name: str) -> dict[str, Any]:
    backlog, leases = facts.backlogs.get(name), facts.leases
    return {
        "state": _state(facts, name),
        "owned": None if leases is None else sum(worker == name for worker, _ in leases.owners),
        "lag": None if backlog is None or backlog.unread < 0 else backlog.unread,
        "pending": None if backlog is None else backlog.pending,
        "open": facts.open_events.get(name),
        "dead": None if facts.tables is None else facts.tables.dead_letters.get(name, 0),
        "oldest_seconds": None if backlog is None or backlog.oldest_s is None else round(backlog.oldest_s, 1),
    }


def _state(facts: Facts, name: str) -> str:
    """What the worker is, seen from here: settings of other processes may differ, members say what they run."""
    if name in facts.paused:
        return "paused"
    if facts.leases is not None and any(name in workers for workers in facts.leases.members.values()):
        return "running"
    if name in facts.workers_off:
        return f"off: {facts.workers_off[name]}"
    return "not known" if facts.leases is None else "no process runs it"


def _print(found: dict[str, Any]) -> None:
    typer.echo(f"Ferryman {found['version']}, {_or_away(found['redis'], 'Redis')}, {_postgres(found['postgres'])}")
    typer.echo(f"partitions {found['partitions']}, spool {_text(found['spool'])}, outbox {_text(found['outbox'])}")
    for why in found["away"].values():
        typer.echo(f"away: {why}")
    table = Table("worker", "state", "owned", "lag", "pending", "open", "dead", "oldest (s)", box=None)
    for name, worker in found["workers"].items():
        table.add_row(name, *(Text(_text(value)) for value in worker.values()))
    Console(soft_wrap=True).print(table)
    for member, owned in (found["members"] or {}).items():
        shares = "; ".join(f"{worker} {ranges(partitions)}" for worker, partitions in owned.items())
        typer.echo(f"process {member[:8]}: {shares}")
    if found["members"] == {}:
        typer.echo("no daemon runs")
    for source, why in found["sources_off"].items():
        typer.echo(f"source {source} is not served: {why}")
    for name in found["paused"]:
        typer.echo(f"{name} is paused: `ferryman resume {name}`")


def _text(value: Any) -> str:
    return "?" if value is None else str(value)


def _or_away(version: str | None, store: str) -> str:
    return version or f"{store} is away"


def _postgres(version: str | None) -> str:
    return _or_away(None if version is None else f"PostgreSQL {version}", "Postgres")
