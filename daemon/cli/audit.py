"""`ferryman audit`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import NONE_YET, Json, opened
from daemon.operator.audit import Audit, audit_workers
from daemon.settings.model import Settings


def audit(json: Json = False) -> None:
    """Prove from the tables that every accepted event has ended, or is still open, once per worker. Exit code 1 if
    not."""
    found = run_async(_audit(read_settings()))
    if json:
        show_json(found.document())
    else:
        show_balance(found)
    if not found.balanced:
        raise typer.Exit(1)


async def _audit(settings: Settings) -> Audit:
    async with opened(settings) as (_, pool):
        return await audit_workers(pool)


def show_balance(found: Audit) -> None:
    """The sums as a table, a row for each worker, then one for each fault."""
    if not found.workers:
        say(NONE_YET)
        return
    rows = [[name, *(str(n) for n in asdict(sums).values())] for name, sums in found.workers.items()]
    for name, faults in found.faults.items():
        rows += [[f"{name}: {fault}", *([""] * 5), ", ".join(ids)] for fault, ids in faults.items()]
    for name, seconds in found.unattended.items():
        rows.append([f"{name}: no process has run it for {seconds // 3600} h", *([""] * 5), "see `ferryman workers`"])
    columns = ("worker", "accepted", "done", "skipped", "dead", "uncertain", "open")
    show_table(columns, rows, title="Balance", box=True)
