"""`ferryman reconcile`."""

from __future__ import annotations

from adapters.postgres.pool import Pool
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say
from daemon.cli.tools import DryRun, opened
from daemon.contacts.reconciler import MOST_RUNS, Found
from daemon.contacts.reconciler import reconcile as look
from daemon.contacts.reports_again import look_again
from daemon.settings.model import Settings
from schemas.errors import FerrymanError


class Busy(FerrymanError):
    """Another process is at it."""


def reconcile(dry_run: DryRun = False) -> None:
    """Look for orders without an end that nothing works on, and sync them again; and for reports about applicants whose
    orders came late, and send them again. The daemon does so by itself, every FERRYMAN_RECONCILE_MINUTES."""
    run_async(_reconcile(read_settings(), dry_run))


async def _reconcile(settings: Settings, dry_run: bool) -> None:
    async with opened(settings) as (_, pool):
        reports = await _reports(pool, dry_run)
        say(f"{reports} reports whose orders came late {'would be' if dry_run else 'are'} sent again")
        found = await _orders(pool, settings.ferryman_reconcile_minutes * 60.0, dry_run)
    say(f"{found.again} orders {'would be' if dry_run else 'are'} synced again")
    say(f"{found.open} are open, and the bus delivers them")
    if found.left:
        say(f"{found.left} have no end after {MOST_RUNS} more runs, or cannot be read: see `ferryman orders list`")


async def _reports(pool: Pool, dry_run: bool) -> int:
    """How many reports were sent again."""
    again, after = await look_again(pool, dry_run=dry_run)
    while after:
        more, after = await look_again(pool, after=after, dry_run=dry_run)
        again += more
    return again


async def _orders(pool: Pool, older_than_s: float, dry_run: bool) -> Found:
    """What was found in all rounds. Raises: Busy."""
    found = Found()
    while True:
        one = await look(pool, older_than_s, after=found.until, dry_run=dry_run)
        if one is None:
            raise Busy("another process reconciles just now: try again in a moment")
        found = Found(found.again + one.again, found.open + one.open, found.left + one.left, one.until)
        if not found.until:
            return found
