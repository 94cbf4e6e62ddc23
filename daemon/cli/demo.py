"""`ferryman demo`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from daemon.cli.audit import balance_table
from daemon.cli.context import read_settings, run_async
from daemon.cli.progress import progress
from daemon.cli.tools import print_json
from daemon.demo import Result, Stage, perform, staged
from daemon.lifecycle import stop_on_signals
from daemon.telemetry import logs


def demo(
    orders: Annotated[int, typer.Option("--orders", min=1, max=9000, help="How many orders to send.")] = 25,
    seed: Annotated[int, typer.Option(help="The same seed invents the same orders.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep running afterwards, until Ctrl-C.")] = False,
) -> None:
    """Send invented orders through the whole of Ferryman, on servers of its own, and prove what became of each."""
    data_dir = read_settings().ferryman_data_dir / "demo"
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "daemon.log").open("ab", buffering=0) as log:
        logs.configure("info", stream=log)
        result = run_async(_demo(data_dir, orders, seed, json, keep))
    if not result.ok:
        raise typer.Exit(1)


async def _demo(data_dir: Path, orders: int, seed: int, json: bool, keep: bool) -> Result:
    screen = Console(stderr=json, soft_wrap=True)
    screen.print("starting Valkey, PostgreSQL, a simulated CGB and the daemon …")
    async with staged(data_dir) as stage:
        with progress(screen, "orders have ended") as report:
            result = await perform(stage, orders, seed, report)
        if json:
            print_json(result.document())
        else:
            _show(screen, result)
        if keep:
            await _keep(screen, stage)
    if not json:
        _where_next(screen, data_dir)
    return result


def _show(screen: Console, result: Result) -> None:
    table = Table("order", "what it is", "answer", "what became of it", title="Orders")
    for shipment in result.shipments:
        status = str(shipment.reply.status) if shipment.reply else "none"
        table.add_row(shipment.order_id, shipment.what, status, shipment.outcome)
    screen.print(table)
    screen.print(balance_table(result.audit))
    duplicates = sum(s.duplicate for s in result.shipments)
    screen.print(
        f"CGB was asked {result.requests} times: {result.writes} writes, {len(result.made)} contacts made;"
        f" {duplicates} duplicate webhooks; {result.seconds:.1f} s"
    )
    for disagreement in result.disagreements:
        screen.print(f"[red]does not agree:[/red] {disagreement}")
    screen.print("the balance holds and the simulator's ledger agrees" if result.ok else "[red]NOT in balance[/red]")


async def _keep(screen: Console, stage: Stage) -> None:
    screen.print(f"listener   {stage.url}  (/readyz, /metrics, /webhooks/orders)")
    screen.print(f"CGB        {stage.cgb.url}  ({stage.cgb.root}/_sandbox/ledger)")
    screen.print(f"Redis      {stage.addresses.redis_url}")
    screen.print(f"Postgres   {stage.addresses.database_url}")
    screen.print("running until Ctrl-C")
    stop = asyncio.Event()
    stop_on_signals(stop)
    await stop.wait()


def _where_next(screen: Console, data_dir: Path) -> None:
    screen.print("")
    screen.print("where to look next:")
    screen.print("  ferryman demo             again: every order is a duplicate, CGB is not called")
    screen.print("  ferryman demo --keep      keeps running, so that you can look at /readyz, /metrics and the tables")
    screen.print(f"  {data_dir / 'daemon.log'}   the log of the daemon, one JSON object a line")
    screen.print("  deploy/README.md          how to install it for real: ferryman run")
