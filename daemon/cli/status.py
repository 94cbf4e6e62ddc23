"""`ferryman status`."""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daemon.cli.context import read_settings, run_async
from daemon.cli.tools import Json, print_json, shown_ranges
from daemon.operator.status import read_status


def status(json: Json = False) -> None:
    """Which process works on what, what waits, and what is off and why. Only each daemon knows its breakers: see its
    /metrics."""
    found = run_async(read_status(read_settings()))
    if json:
        print_json(found)
    else:
        _print(found)


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
        shares = "; ".join(f"{worker} {shown_ranges(partitions)}" for worker, partitions in owned.items())
        typer.echo(f"process {member[:8]}: {shares}")
    if found["members"] == {}:
        typer.echo("no daemon runs")
    for source, why in found["sources_off"].items():
        typer.echo(f"source {source} is not served: {why}")
    for name in found["paused"]:
        typer.echo(f"{name} is paused: `ferryman resume {name}`")
    for name, left_s in found["asked_to_wait"].items():
        typer.echo(f"{name} has asked us to wait: {left_s} s more; `ferryman resume {name}` goes on at once")


def _text(value: Any) -> str:
    return "?" if value is None else str(value)


def _or_away(version: str | None, store: str) -> str:
    return version or f"{store} is away"


def _postgres(version: str | None) -> str:
    return _or_away(None if version is None else f"PostgreSQL {version}", "Postgres")
