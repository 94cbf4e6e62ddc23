"""`ferryman workers`: the workers that this installation has."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from daemon.cli.arguments import parse_words
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import NONE_YET, DryRun, Json, Yes, confirm, opened, shown_time
from daemon.operator.replay import open_bus
from daemon.operator.workers import forget_worker, read_workers
from daemon.settings.model import Settings

app = typer.Typer(no_args_is_help=True, help="The workers that this installation has, run by any process or by none.")


@app.command("list")
def show(json: Json = False) -> None:
    """Each worker, when a process last ran it, and how many entries wait for it."""
    found = run_async(_read(read_settings()))
    if json:
        show_json(found)
        return
    if not found:
        say(NONE_YET)
        return
    rows = []
    for worker in found:
        since = shown_time(worker["began_at"]) if worker["begins"] == "now" else "everything"
        waiting = "not known" if worker["waiting"] is None else str(worker["waiting"])
        seen = shown_time(worker["last_seen_at"]) or "never"
        rows.append([worker["name"], "yes" if worker["running"] else "no", seen, since, waiting])
    show_table(("worker", "run by a process", "last seen", "begins at", "waiting"), rows)


@app.command("forget")
def forget(
    name: Annotated[str, typer.Argument(metavar="WORKER", parser=parse_words)],
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Take a worker that no process runs any more out of the installation. What waits for it is dropped, and nothing is
    kept for it from now on."""
    if not dry_run:
        run_async(_forget(read_settings(), name, dry_run=True))  # what cannot be done is not asked for
        confirm(f"drop what waits for {name}, for good?", f"drop what waits for {name}", yes=yes)
    waiting = run_async(_forget(read_settings(), name, dry_run=dry_run))
    count = "an unknown number of" if waiting is None else str(waiting)
    say(f"{name} {'would be' if dry_run else 'is'} forgotten, with {count} entries that wait for it")


async def _read(settings: Settings) -> list[dict[str, Any]]:
    async with (
        opened(settings) as (addresses, pool),
        open_bus(pool, addresses.redis_url, settings.ferryman_partitions) as bus,
    ):
        return await read_workers(pool, bus)


async def _forget(settings: Settings, name: str, *, dry_run: bool) -> int | None:
    async with (
        opened(settings) as (addresses, pool),
        open_bus(pool, addresses.redis_url, settings.ferryman_partitions) as bus,
    ):
        return await forget_worker(pool, bus, name, dry_run=dry_run)
