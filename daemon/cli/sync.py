"""`ferryman sync`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from adapters.postgres.operator.orders import STATUSES, OrderStanding
from adapters.postgres.pool import Pool
from adapters.postgres.stored_orders import OrderFilter
from daemon.cli.arguments import parse_words, require_known
from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED
from daemon.cli.named import HELP
from daemon.cli.screen import progress, say
from daemon.cli.tools import DryRun, Text, When, Yes, confirm, content_of, opened, operator
from daemon.operator import orders, resync
from daemon.operator.look import look
from daemon.operator.replay import open_bus
from daemon.operator.resync import SyncPlan, Told
from daemon.settings.model import Settings
from daemon.stores.located import Addresses
from daemon.telemetry.redaction import redact_text
from schemas.errors import FerrymanError, UsageError

ENDED: Final = ("synced", "no_whatsapp")
WAIT_S: Final = 60.0
"""How long `sync order` waits for the end."""

NO_PHONE: Final = "have no usable phone and are left out: see `ferryman orders list --status failed`"

app = typer.Typer(help="Sync stored orders to CGB again. A running daemon does the work.", no_args_is_help=True)

Rate = Annotated[float | None, typer.Option(min=0.1, max=6000, help="Orders in a minute at most.")]


class NotSynced(FerrymanError):
    """An order was not synced in time, or not at all."""


@app.command()
def order(
    order: Annotated[str, typer.Argument(help=f"Its id, or its event. {HELP}", parser=parse_words, metavar="ORDER")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look at CGB and say what would be written.")] = False,
) -> None:
    """Sync one order again, and say how it ended. It looks at CGB also where nothing has changed here."""
    run_async(_order(read_settings(), order, dry_run))


@app.command()
def failed(
    since: Annotated[datetime | None, When("--since", help="Orders that were last tried since then.")] = None,
    error: Annotated[str | None, Text("--error", help="Only orders whose reason contains this text.")] = None,
    rate: Rate = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Sync the orders again that have failed, and settle their dead letters with it."""
    wanted = OrderFilter(statuses=("failed",), attempted_since=since, error=error)
    run_async(_many(read_settings(), wanted, rate, dry_run, yes))


@app.command()
def bulk(
    since: Annotated[datetime | None, When("--from", help="Orders that were made or changed since then.")] = None,
    until: Annotated[datetime | None, When("--to", help="Orders that were made or changed before then.")] = None,
    branch: Annotated[str | None, Text("--branch", help="Only orders of this branch.")] = None,
    status: Annotated[
        list[str] | None, typer.Option(help=f"Only orders of this status: {', '.join(STATUSES)}.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A file with the ids of the orders, one in a line.")] = None,
    rate: Rate = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Sync many orders again, CGB_SYNC_BATCH_SIZE at a time and behind live orders. The same command continues one that
    was interrupted."""
    for one in status or ():
        require_known("--status", one, STATUSES)
    wanted = OrderFilter(
        since=since,
        until=until,
        branch=None if branch is None else branch.strip().lower(),
        statuses=tuple(sorted(status)) if status else None,
        ids=None if file is None else _ids(file),
    )
    run_async(_many(read_settings(), wanted, rate, dry_run, yes))


def _ids(file: Path) -> tuple[str, ...]:
    """The ids in *file*. Raises: NotRead; UsageError."""
    try:
        lines = content_of(file).decode().splitlines()
    except UnicodeDecodeError as exc:
        raise UsageError(f"{file} is not UTF-8: write the id of one order in each line") from exc
    found = tuple(sorted({line.strip() for line in lines if line.strip()}))
    if not found or any("\x00" in one for one in found):
        raise UsageError(f"{file} names no order: write the id of one order in each line")
    return found


async def _order(settings: Settings, wanted: str, dry_run: bool) -> None:
    async with opened(settings) as (addresses, pool):
        found = await orders.stored(pool, wanted)
        order_id, phone = found.standing.order_id, found.client_phone
        if phone is None:
            raise NotSynced(f"the order {order_id} has no usable phone: `ferryman orders correct {order_id} --phone …`")
        if dry_run:
            seen = await look(settings, pool, addresses.redis_url, order_id, phone)
            names = f": {', '.join(sorted(seen.fields))}" if seen.fields else ""
            say(f"the contact would be {seen.action}, and show the order {seen.shown}{names}")
            return
        await resync.forget(pool, phone)
        plan = await resync.make_plan(pool, OrderFilter(ids=(order_id,)))
        try:
            async with asyncio.timeout(WAIT_S):
                await _run(settings, addresses, pool, replace(plan, goes_on=None), None, lambda told: None)
        except TimeoutError:
            raise NotSynced(
                f"the order {order_id} is on its way and has not ended in {WAIT_S:g} s: does a daemon run contact-sync,"
                f" and does CGB answer? see `ferryman status`, later `ferryman orders show {order_id}`"
            ) from None
        _say_standing((await orders.stored(pool, order_id)).standing)


def _say_standing(standing: OrderStanding) -> None:
    """Say how the order ended. Raises: NotSynced where it is not synced."""
    reason = f": {redact_text(standing.reason)}" if standing.reason else ""
    if standing.status not in ENDED:
        raise NotSynced(f"the order {standing.order_id} is {standing.status}{reason}")
    say(f"the order {standing.order_id} is {standing.status}, contact {standing.cgb_contact_id}")


async def _many(settings: Settings, wanted: OrderFilter, rate: float | None, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (addresses, pool):
        plan = await resync.make_plan(pool, wanted)
        say(f"{plan.total} orders to sync again, {settings.cgb_sync_batch_size} at a time")
        if plan.without_phone:
            say(f"  {plan.without_phone} {NO_PHONE}")
        if plan.goes_on is not None:
            say(f"  {plan.goes_on.sent} of {plan.goes_on.total} were sent before an interruption")
        if dry_run or not (plan.total or plan.goes_on):
            return
        confirm(f"sync {plan.total} orders again?", f"sync {plan.total} orders again", yes=yes)
        with progress("synced") as report:
            told = await _run(settings, addresses, pool, plan, rate, _reporter(report))
    ended = ", ".join(f"{count} {outcome}" for outcome, count in sorted(told.outcomes.items()))
    say(f"all have ended: {ended or 'none'}")
    if told.unreadable:
        say(f"{told.unreadable} could not be read any more")
    if told.outcomes["dead"] or told.unreadable:
        say("see `ferryman orders list --status failed` and `ferryman dead-letters list`")
        raise typer.Exit(FAILED)


def _reporter(report: Callable[[int, int], None]) -> Callable[[Told], None]:
    """Shows how far a run has come; says once when it stands still."""
    warned = False

    def tell(told: Told) -> None:
        nonlocal warned
        report(told.ended, max(told.total, told.sent))
        if told.still and not warned:
            warned = True
            say("nothing has ended for a while: does a daemon run contact-sync? see `ferryman status`", err=True)

    return tell


async def _run(
    settings: Settings,
    addresses: Addresses,
    pool: Pool,
    plan: SyncPlan,
    rate: float | None,
    report: Callable[[Told], Any],
) -> Told:
    at_once = settings.cgb_sync_batch_size
    async with open_bus(pool, addresses.redis_url, settings.ferryman_partitions) as bus:
        return await resync.run(pool, bus, plan, operator(), report, at_once=at_once, per_minute=rate)
