"""`ferryman audit`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from adapters.postgres.pool import connect
from daemon.cli.context import read_settings, run_async
from daemon.operator.audit import Audit, audit_workers
from daemon.settings.model import Settings
from daemon.stores.located import located_stores
from daemon.workers import WORKERS


def audit(json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Prove from the tables that every accepted event has ended, or is still open, once per worker. Exit code 1 if
    not."""
    run_async(_audit(read_settings(), json))


async def _audit(settings: Settings, json: bool) -> None:
    async with located_stores(settings, join=True) as addresses, connect(addresses.database_url, size=1) as pool:
        found = await audit_workers(pool, WORKERS)
    if json:
        typer.echo(orjson.dumps(found.document(), option=orjson.OPT_INDENT_2))
    else:
        Console().print(balance_table(found))
    if not found.balanced:
        raise typer.Exit(1)


def balance_table(found: Audit) -> Table:
    """For a person."""
    shown = Table("worker", "accepted", "done", "skipped", "dead", "uncertain", "open", title="Balance")
    for name, sums in found.workers.items():
        shown.add_row(name, *(str(n) for n in asdict(sums).values()))
    for name, faults in found.faults.items():
        for fault, ids in faults.items():
            shown.add_row(f"{name}: {fault}", *([""] * 5), ", ".join(ids))
    return shown
