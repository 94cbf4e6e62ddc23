"""`ferryman replay`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Final

import typer

from adapters.postgres.operator.replay import ReplayFilter
from daemon.cli.arguments import require_known
from daemon.cli.context import read_settings, run_async
from daemon.cli.named import HELP
from daemon.cli.screen import progress, say
from daemon.cli.tools import DryRun, Text, When, Yes, confirm, opened
from daemon.operator.keys import keys_meant
from daemon.operator.naming import the_event
from daemon.operator.replay import make_plan, open_bus, perform, publish_missing, worker_named
from daemon.settings.model import Settings
from daemon.workers import WORKERS
from schemas.envelope import TYPES
from schemas.errors import Malformed
from schemas.phone import Phone

NAMES: Final = [worker.name for worker in WORKERS]


def replay(
    worker: Annotated[str | None, typer.Option(help=f"The worker that gets the events: {', '.join(NAMES)}.")] = None,
    since: Annotated[datetime | None, When("--from", help="Events that arrived since then.")] = None,
    until: Annotated[datetime | None, When("--to", help="Events that arrived before then.")] = None,
    type: Annotated[list[str] | None, typer.Option(help="Event types; default: all that the worker handles.")] = None,
    key: Annotated[
        str | None,
        Text("--key", help="Events of one key: a phone in E.164, in any notation of its line; an e-mail address."),
    ] = None,
    event: Annotated[str | None, Text("--event", help=f"One event. {HELP}")] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Publish what some worker has not ended with, without asking.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Deliver events of the journal again, to one worker. The same command continues an interrupted one."""
    require_known("--worker", worker, NAMES)
    for one in type or ():
        require_known("--type", one, list(TYPES))
    settings = read_settings()
    if missing:
        count = run_async(_missing(settings, dry_run))
        say(f"{count} events {'are missing somewhere' if dry_run else 'published again'}")
        return
    if worker is None:
        raise typer.BadParameter("name a worker with --worker, or use --missing")
    if key is not None and key.startswith("+"):
        try:
            Phone.parse_e164(key)
        except Malformed as exc:
            raise typer.BadParameter(f"it is {exc}", param_hint="--key") from exc
    types = tuple(type) if type else None
    keys = None if key is None else tuple(sorted(keys_meant(key)))
    chosen = ReplayFilter(types=types, since=since, until=until, keys=keys, event_id=event)
    run_async(_replay(settings, worker, chosen, dry_run, yes))


async def _replay(settings: Settings, name: str, chosen: ReplayFilter, dry_run: bool, yes: bool) -> None:
    worker = worker_named(WORKERS, name)
    async with opened(settings) as (addresses, pool):
        if chosen.event_id is not None:
            chosen = replace(chosen, event_id=(await the_event(pool, chosen.event_id)).id)
        plan = await make_plan(pool, worker, chosen)
        for line in plan.lines():
            say(line)
        if dry_run or not plan.total:
            return
        confirm(f"deliver {plan.total} events to {name} again?", f"deliver {plan.total} events again", yes=yes)
        async with open_bus(pool, addresses.redis_url, settings.ferryman_partitions) as bus:
            with progress("replayed") as report:
                count = await perform(pool, bus, worker, plan, report)
    say(f"{count} events are on their way to {name}")


async def _missing(settings: Settings, dry_run: bool) -> int:
    async with (
        opened(settings) as (addresses, pool),
        open_bus(pool, addresses.redis_url, settings.ferryman_partitions) as bus,
    ):
        return await publish_missing(pool, bus, settings.ferryman_inbox_days, dry_run=dry_run)
