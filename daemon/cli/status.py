"""`ferryman status`."""

from __future__ import annotations

from typing import Any

import typer

from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import Json, shown_ranges
from daemon.operator.status import read_status


def status(json: Json = False) -> None:
    """Which process works on what, what waits, and what is off and why. Only each daemon knows its breakers: see its
    /metrics. Exit code 1 when a store is away."""
    found = run_async(read_status(read_settings()))
    if json:
        show_json(found)
    else:
        _print(found)
    if found["away"]:
        raise typer.Exit(1)


def _print(found: dict[str, Any]) -> None:
    say(f"Ferryman {found['version']}, {_or_away(found['redis'], 'Redis')}, {_postgres(found['postgres'])}")
    say(f"partitions {found['partitions']}, spool {_text(found['spool'])}, outbox {_text(found['outbox'])}")
    for why in found["away"].values():
        say(f"away: {why}")
    rows = [[name, *map(_text, worker.values())] for name, worker in found["workers"].items()]
    show_table(("worker", "state", "owned", "lag", "pending", "open", "dead", "oldest (s)"), rows)
    for member, owned in (found["members"] or {}).items():
        shares = "; ".join(f"{worker} {shown_ranges(partitions)}" for worker, partitions in owned.items())
        say(f"process {member[:8]}: {shares}")
    if found["members"] == {}:
        say("no daemon runs")
    for worker, seconds in found["unattended"].items():
        say(f"work waits for {worker}, which no process has run for {seconds} s: `ferryman workers list`")
    if failed := (found["orders"] or {}).get("failed"):
        say(f"{failed} orders have failed: `ferryman orders list --status failed`")
    for source, why in found["sources_off"].items():
        say(f"source {source} is not served: {why}")
    for name in found["paused"]:
        say(f"{name} is paused: `ferryman resume {name}`")
    for name, left_s in found["asked_to_wait"].items():
        say(f"{name} has asked us to wait: {left_s} s more; `ferryman resume {name}` goes on at once")


def _text(value: Any) -> str:
    return "?" if value is None else str(value)


def _or_away(version: str | None, store: str) -> str:
    return version or f"{store} is away"


def _postgres(version: str | None) -> str:
    return _or_away(None if version is None else f"PostgreSQL {version}", "Postgres")
