"""`ferryman replay`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from adapters.postgres.operator import partitions
from adapters.postgres.operator.replay import Filter
from adapters.postgres.pool import Pool, connect
from adapters.redis import durability, streams
from adapters.redis.streams import Streams
from daemon.cli.context import read_settings, run_async
from daemon.cli.progress import progress
from daemon.operator.replay import Plan, ReplayError, perform, planned, publish_missing
from daemon.settings.model import Settings
from daemon.stores.located import located_stores
from daemon.workers import WORKERS
from schemas.phone import Phone


def replay(
    worker: Annotated[str | None, typer.Option(help="The one worker that gets the events.")] = None,
    since: Annotated[datetime | None, typer.Option("--from", help="Events that arrived since then (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option("--to", help="Events that arrived before then (UTC).")] = None,
    type: Annotated[list[str] | None, typer.Option(help="Event types; default: all that the worker handles.")] = None,
    key: Annotated[str | None, typer.Option(help="Events of one key, for instance a phone in E.164.")] = None,
    event: Annotated[str | None, typer.Option(help="One event id.")] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Publish what some worker has not ended with; asks nothing.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be delivered, and deliver nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Deliver events of the journal again, to one worker. The same command goes on where an interrupted one was."""
    settings = read_settings()
    if missing:
        count = run_async(_missing(settings, dry_run))
        typer.echo(f"{count} events {'are missing somewhere' if dry_run else 'published again'}")
        return
    if worker is None:
        raise typer.BadParameter("name a worker with --worker, or use --missing")
    if key is not None and key.startswith("+"):
        Phone.parse_e164(key)
    chosen = Filter(types=tuple(type) if type else None, since=_utc(since), until=_utc(until), key=key, event_id=event)
    run_async(_replay(settings, worker, chosen, dry_run, yes))


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


async def _replay(settings: Settings, name: str, chosen: Filter, dry_run: bool, yes: bool) -> None:
    worker = next((w for w in WORKERS if w.name == name), None)
    if worker is None:
        raise ReplayError(f"there is no worker {name}: there are {', '.join(w.name for w in WORKERS)}")
    async with (
        located_stores(settings, join=True) as addresses,
        connect(addresses.database_url, size=2) as pool,
    ):
        plan = await planned(pool, worker, chosen)
        screen = Console(soft_wrap=True)
        _show(screen, plan)
        if dry_run or not plan.total:
            return
        _confirm(plan, yes)
        async with _bus(pool, settings, addresses.redis_url) as bus:
            with progress(screen, "replayed") as report:
                count = await perform(pool, bus, worker, plan, report)
        screen.print(f"{count} events are on their way to {name}")


@asynccontextmanager
async def _bus(pool: Pool, settings: Settings, redis_url: str) -> AsyncIterator[Streams]:
    """The streams, in the number of partitions that is in force and stays so meanwhile."""
    async with pool.acquire() as conn:
        if not await partitions.take_part(conn):
            raise ReplayError("the partitions are being changed: try again when `ferryman partitions` has ended")
        number = await partitions.number(conn) or settings.ferryman_partitions
        client = streams.client(redis_url, timeout_s=5)
        try:
            yield Streams(client, number, await durability.of(client))
        finally:
            await client.aclose()


async def _missing(settings: Settings, dry_run: bool) -> int:
    async with (
        located_stores(settings, join=True) as addresses,
        connect(addresses.database_url, size=2) as pool,
        _bus(pool, settings, addresses.redis_url) as bus,
    ):
        return await publish_missing(pool, bus, WORKERS, settings.ferryman_inbox_days, dry_run=dry_run)


def _show(screen: Console, plan: Plan) -> None:
    screen.print(f"{plan.total} events of the journal for {plan.worker}")
    for outcome, count in sorted(plan.ended.items()):
        screen.print(f"  {count} ended the first time as: {outcome}")
    if plan.goes_on is not None:
        screen.print(f"  {plan.goes_on.published} of {plan.goes_on.total} were delivered before an interruption")


def _confirm(plan: Plan, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ReplayError(f"this would deliver {plan.total} events again: add --yes, or --dry-run to look only")
    if not typer.confirm(f"deliver {plan.total} events to {plan.worker} again?"):
        raise typer.Abort
