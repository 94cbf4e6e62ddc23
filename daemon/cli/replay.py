"""`ferryman replay`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console

from adapters.postgres.operator.replay import ReplayFilter
from daemon.cli.context import read_settings, run_async
from daemon.cli.progress import progress
from daemon.cli.tools import DryRun, Yes, confirm, opened, utc
from daemon.operator.replay import make_plan, open_bus, perform, publish_missing, worker_named
from daemon.settings.model import Settings
from daemon.workers import WORKERS
from schemas.phone import Phone


def replay(
    worker: Annotated[str | None, typer.Option(help="The worker that gets the events.")] = None,
    since: Annotated[datetime | None, typer.Option("--from", help="Events that arrived since then (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option("--to", help="Events that arrived before then (UTC).")] = None,
    type: Annotated[list[str] | None, typer.Option(help="Event types; default: all that the worker handles.")] = None,
    key: Annotated[str | None, typer.Option(help="Events of one key, for instance a phone in E.164.")] = None,
    event: Annotated[str | None, typer.Option(help="One event id.")] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Publish what some worker has not ended with, without asking.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Deliver events of the journal again, to one worker. The same command continues an interrupted one."""
    settings = read_settings()
    if missing:
        count = run_async(_missing(settings, dry_run))
        typer.echo(f"{count} events {'are missing somewhere' if dry_run else 'published again'}")
        return
    if worker is None:
        raise typer.BadParameter("name a worker with --worker, or use --missing")
    if key is not None and key.startswith("+"):
        Phone.parse_e164(key)
    types = tuple(type) if type else None
    chosen = ReplayFilter(types=types, since=utc(since), until=utc(until), key=key, event_id=event)
    run_async(_replay(settings, worker, chosen, dry_run, yes))


async def _replay(settings: Settings, name: str, chosen: ReplayFilter, dry_run: bool, yes: bool) -> None:
    worker = worker_named(WORKERS, name)
    async with opened(settings) as (addresses, pool):
        plan = await make_plan(pool, worker, chosen)
        for line in plan.lines():
            typer.echo(line)
        if dry_run or not plan.total:
            return
        confirm(f"deliver {plan.total} events to {name} again?", f"deliver {plan.total} events again", yes=yes)
        async with open_bus(pool, addresses.redis_url, settings.ferryman_partitions) as bus:
            with progress(Console(soft_wrap=True), "replayed") as report:
                count = await perform(pool, bus, worker, plan, report)
    typer.echo(f"{count} events are on their way to {name}")


async def _missing(settings: Settings, dry_run: bool) -> int:
    async with (
        opened(settings) as (addresses, pool),
        open_bus(pool, addresses.redis_url, settings.ferryman_partitions) as bus,
    ):
        return await publish_missing(pool, bus, settings.ferryman_inbox_days, dry_run=dry_run)
