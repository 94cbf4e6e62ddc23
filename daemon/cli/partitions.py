"""`ferryman partitions`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.postgres.pool import Pool
from adapters.redis import lease_table, streams
from adapters.redis.client import Redis
from daemon.cli.context import read_settings, run_async
from daemon.cli.progress import progress
from daemon.cli.tools import confirm, opened, print_json, ranges
from daemon.operator.inspection import off
from daemon.operator.partitions import JOURNAL, Changed, Layout, NotNow, change, finish, look, obstacles
from daemon.settings.model import Settings
from daemon.workers import WORKERS
from schemas.envelope import TOPICS

TIMEOUT_S: Final = 10.0
MOST: Final = 1024


def partitions(
    number: Annotated[int | None, typer.Argument(min=1, max=MOST, help="The new number.")] = None,
    move: Annotated[
        bool, typer.Option("--move", help="Carry over, in order, what waits for workers other than the journal.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object; only without a number.")] = False,
) -> None:
    """Who owns which partition and what waits there; with a number: change how many there are, while no process
    runs."""
    settings = read_settings()
    if number is not None:
        if json:
            raise typer.BadParameter("--json goes without a number")
        run_async(_change(settings, number, move=move, dry_run=dry_run, yes=yes))
        return
    if move or dry_run or yes:
        raise typer.BadParameter("--move, --dry-run and --yes go with a number")
    layout = run_async(_look(settings))
    found = document(layout, settings.ferryman_partitions)
    if json:
        print_json(found)
    else:
        _print(found)


@asynccontextmanager
async def _stores(settings: Settings) -> AsyncIterator[tuple[Pool, Redis]]:
    async with opened(settings) as (addresses, pool):
        client = streams.client(addresses.redis_url, timeout_s=TIMEOUT_S, connections=4)
        try:
            if addresses.private:  # a daemon that was killed here left its leases, and nobody else can have any
                await lease_table.forget_all(client)
            yield pool, client
        finally:
            await client.aclose()


async def _look(settings: Settings) -> Layout:
    async with _stores(settings) as (pool, client), pool.acquire() as conn:
        return await look(conn, client, settings.ferryman_partitions)


async def _change(settings: Settings, to: int, *, move: bool, dry_run: bool, yes: bool) -> None:
    _, why_off, _ = off(settings)
    configured = settings.ferryman_partitions
    async with _stores(settings) as (pool, client):
        async with pool.acquire() as conn:
            layout = await look(conn, client, configured, up_to=to)
        if layout.number == to:
            if not dry_run:
                await finish(pool, client)
            typer.echo(f"there are {to} partitions already")
            return
        plan = _plan(layout, configured, to, move)
        if dry_run:
            typer.echo(f"would {plan}")
        if reasons := obstacles(layout, WORKERS, why_off, move=move):
            raise NotNow(f"the partitions stay as they are: {'; '.join(reasons)}")
        if dry_run:
            return
        confirm(f"{plan}?", plan, yes=yes)
        with progress(Console(soft_wrap=True), "carried over") if move else nullcontext(_unheard) as report:
            done = await change(pool, client, WORKERS, why_off, to, configured=configured, move=move, report=report)
    _tell(done, configured)


def _unheard(done: int, of: int) -> None:
    """Nothing is carried over."""


def _plan(layout: Layout, configured: int, to: int, move: bool) -> str:
    entries = sum(state.entries for state in layout.streams.values())
    carried = sum(layout.waits(worker) for worker in WORKERS if worker.name != JOURNAL) if move else 0
    text = f"change the partitions from {layout.number or configured} to {to}"
    kept = f", drop {entries} entries from Redis that the journal keeps" if entries else ""
    return text + kept + (f", and carry over {carried} that wait" if carried else "")


def _tell(done: Changed, configured: int) -> None:
    typer.echo(f"{done.now} partitions instead of {done.was}")
    if done.moved:
        typer.echo(f"{done.moved} waiting events are in the outbox: the next start publishes them before anything else")
    if done.left_out:
        typer.echo(f"{done.left_out} entries were no events: the journal's dead letters have them")
    if configured != done.now:
        typer.echo(f"set FERRYMAN_PARTITIONS={done.now} for every process: here it is {configured}")


def document(layout: Layout, configured: int) -> dict[str, Any]:
    """The layout as JSON. *number* is null before the first process has run."""
    count = layout.number or configured
    return {
        "number": layout.number,
        "configured": configured,
        "processes": sorted(layout.leases.members),
        "changing": layout.changing,
        "lost_data": layout.lost,
        "spool": layout.spool,
        "outbox": layout.outbox,
        "streams": {topic: _topic(layout, topic) for topic in TOPICS},
        "workers": {worker.name: _shares(layout, worker.name, count) for worker in WORKERS},
    }


def _topic(layout: Layout, topic: str) -> dict[str, int]:
    found = [state for key, state in layout.streams.items() if key.endswith(f":{topic}")]
    return {"streams": len(found), "entries": sum(state.entries for state in found)}


def _shares(layout: Layout, name: str, count: int) -> list[dict[str, Any]]:
    worker = next(worker for worker in WORKERS if worker.name == name)
    waiting = layout.waiting(worker)
    return [
        {
            "partition": p,
            "owner": layout.leases.owners.get((name, p)),
            "unread": waiting.get(p, (0, 0))[0],
            "pending": waiting.get(p, (0, 0))[1],
        }
        for p in sorted({*range(count), *waiting})
    ]


def _print(found: Mapping[str, Any]) -> None:
    number, configured = found["number"], found["configured"]
    typer.echo(
        f"partitions {configured if number is None else number}, processes {len(found['processes'])},"
        f" spool {found['spool']}, outbox {found['outbox']}"
    )
    if number is None:
        typer.echo("no process has run yet: the number is that of FERRYMAN_PARTITIONS")
    elif number != configured:
        typer.echo(f"FERRYMAN_PARTITIONS says {configured} here: a process with that would not start")
    if found["lost_data"]:
        typer.echo("Redis has lost data since it was last used: the next start mends that")
    kept = [f"{topic} {of['streams']} with {of['entries']}" for topic, of in found["streams"].items() if of["streams"]]
    typer.echo(f"streams and their entries: {', '.join(kept) or 'none yet'}")
    table = Table("worker", "partitions", "owner", "unread", "pending", box=None)
    for name, shares in found["workers"].items():
        alike: dict[tuple[str, int, int], list[int]] = {}
        for share in shares:
            what = (share["owner"] or "", share["unread"], share["pending"])
            alike.setdefault(what, []).append(share["partition"])
        for (owner, unread, pending), which in alike.items():
            table.add_row(name, Text(ranges(which)), owner[:8] or "nobody", str(unread), str(pending))
    Console(soft_wrap=True).print(table)
