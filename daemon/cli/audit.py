"""`ferryman audit`."""

from __future__ import annotations

from dataclasses import asdict

import typer
from rich.console import Console
from rich.table import Table

from daemon.cli.context import read_settings, run_async
from daemon.cli.tools import Json, opened, print_json
from daemon.operator.audit import Audit, audit_workers
from daemon.settings.model import Settings


def audit(json: Json = False) -> None:
    """Prove from the tables that every accepted event has ended, or is still open, once per worker. Exit code 1 if
    not."""
    found = run_async(_audit(read_settings()))
    if json:
        print_json(found.document())
    else:
        Console().print(balance_table(found))
    if not found.balanced:
        raise typer.Exit(1)


async def _audit(settings: Settings) -> Audit:
    async with opened(settings) as (_, pool):
        return await audit_workers(pool)


def balance_table(found: Audit) -> Table:
    """The sums as a table, a row for each worker, then one for each fault."""
    table = Table("worker", "accepted", "done", "skipped", "dead", "uncertain", "open", title="Balance")
    for name, sums in found.workers.items():
        table.add_row(name, *(str(n) for n in asdict(sums).values()))
    for name, faults in found.faults.items():
        for fault, ids in faults.items():
            table.add_row(f"{name}: {fault}", *([""] * 5), ", ".join(ids))
    for name, seconds in found.unattended.items():
        table.add_row(f"{name}: no process has run it for {seconds // 3600} h", *([""] * 5), "see `ferryman workers`")
    return table
