"""`ferryman partitions`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Annotated, Any, Final

import typer

from adapters.postgres.pool import Pool
from adapters.redis import lease_table, streams
from adapters.redis.client import Redis
from adapters.registry import SOURCES
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import progress, say, show_json, show_table
from daemon.cli.tools import DryRun, Yes, confirm, opened, shown_ranges
from daemon.operator.about import about
from daemon.operator.partitions import document, read_layout
from daemon.operator.repartition import Changed, NotNow, change, finish, obstacles, plan_text
from daemon.operator.workers import working
from daemon.settings.model import Settings
from daemon.workers import WORKERS

TIMEOUT_S: Final = 10.0
MOST: Final = 1024


def partitions(
    number: Annotated[int | None, typer.Argument(min=1, max=MOST, help="The new number.")] = None,
    move: Annotated[
        bool, typer.Option("--move", help="Carry over, in order, what waits for workers other than the journal.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document; only without a number.")] = False,
) -> None:
    """Which process owns which partition, and what waits there. With a number: change how many partitions there are,
    while no process runs."""
    settings = read_settings()
    if number is not None:
        if json:
            raise typer.BadParameter("--json goes without a number")
        run_async(_change(settings, number, move=move, dry_run=dry_run, yes=yes))
        return
    if move or dry_run or yes:
        raise typer.BadParameter("--move, --dry-run and --yes go with a number")
    found = run_async(_read(settings))
    if json:
        show_json(found)
    else:
        _print(found, settings.given_partitions)


@asynccontextmanager
async def _stores(settings: Settings) -> AsyncIterator[tuple[Pool, Redis]]:
    async with opened(settings) as (addresses, pool):
        client = streams.client(addresses.redis_url, timeout_s=TIMEOUT_S, connections=4)
        try:
            if addresses.private:  # the leases are of a daemon that was killed here: no other process can hold any
                await lease_table.forget_all(client)
            yield pool, client
        finally:
            await client.aclose()


async def _read(settings: Settings) -> dict[str, Any]:
    async with _stores(settings) as (pool, client), pool.acquire() as conn:
        layout = await read_layout(conn, client, settings.ferryman_partitions)
        here = await working(pool, WORKERS)
    return document(layout, here, settings.ferryman_partitions)


async def _change(settings: Settings, to: int, *, move: bool, dry_run: bool, yes: bool) -> None:
    why_off, configured = about(settings, WORKERS, SOURCES).workers_off, settings.ferryman_partitions
    async with _stores(settings) as (pool, client):
        async with pool.acquire() as conn:
            layout = await read_layout(conn, client, configured, up_to=to)
        here = await working(pool, WORKERS)
        if layout.number == to:
            if not dry_run:
                await finish(pool, client)
            say(f"there are {to} partitions already")
            return
        plan = plan_text(layout, here, configured, to, move=move)
        if dry_run:
            say(f"would {plan}")
        if reasons := obstacles(layout, here, why_off, move=move):
            raise NotNow(f"the partitions stay as they are: {'; '.join(reasons)}")
        if dry_run:
            return
        confirm(f"{plan}?", plan, yes=yes)
        with progress("carried over") if move else nullcontext(_ignore) as report:
            done = await change(pool, client, here, why_off, to, configured=configured, move=move, report=report)
    _print_changed(done, settings.given_partitions)


def _ignore(done: int, of: int) -> None:
    """The report of a change that carries nothing over."""


def _print_changed(done: Changed, given: int | None) -> None:
    say(f"{done.now} partitions instead of {done.was}")
    if done.moved:
        say(f"{done.moved} waiting events are in the outbox: the next start publishes them before anything else")
    if done.left_out:
        say(f"{done.left_out} entries were not events: the journal's dead letters have them")
    if given not in (None, done.now):
        say(f"set FERRYMAN_PARTITIONS={done.now} for every process: here it is {given}")


def _print(found: Mapping[str, Any], given: int | None) -> None:
    number, configured = found["number"], found["configured"]
    say(
        f"partitions {configured if number is None else number}, processes {len(found['processes'])},"
        f" spool {found['spool']}, outbox {found['outbox']}"
    )
    if number is None:
        say("no process has run yet: the number is that of FERRYMAN_PARTITIONS")
    elif given not in (None, number):
        say(f"FERRYMAN_PARTITIONS says {given} here: a process with that would not start")
    if found["lost_data"]:
        say("Redis has lost data since it was last used: the next start mends that")
    kept = [f"{topic} {of['streams']} with {of['entries']}" for topic, of in found["streams"].items() if of["streams"]]
    say(f"streams and their entries: {', '.join(kept) or 'none yet'}")
    show_table(("worker", "partitions", "owner", "unread", "pending"), _shares(found["workers"]))


def _shares(workers: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """One row for all partitions of a worker that have the same owner and the same counts."""
    for name, shares in workers.items():
        alike: dict[tuple[str, int, int], list[int]] = {}
        for share in shares:
            what = (share["owner"] or "", share["unread"], share["pending"])
            alike.setdefault(what, []).append(share["partition"])
        for (owner, unread, pending), which in alike.items():
            yield name, shown_ranges(which), owner[:8] or "no owner", str(unread), str(pending)
