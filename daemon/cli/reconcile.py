"""`ferryman reconcile`."""

from __future__ import annotations

from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say
from daemon.cli.tools import DryRun, opened
from daemon.contacts.reconciler import MOST_RUNS, Found
from daemon.contacts.reconciler import reconcile as look
from daemon.settings.model import Settings
from schemas.errors import FerrymanError


class Busy(FerrymanError):
    """Another process is at it."""


def reconcile(dry_run: DryRun = False) -> None:
    """Look for orders without an end that nothing works on, and sync them again. The daemon does so by itself, every
    FERRYMAN_RECONCILE_MINUTES."""
    run_async(_reconcile(read_settings(), dry_run))


async def _reconcile(settings: Settings, dry_run: bool) -> None:
    older_than_s = settings.ferryman_reconcile_minutes * 60.0
    async with opened(settings) as (_, pool):
        again = opened_ = left = 0
        found = Found(until="")
        while True:
            one = await look(pool, older_than_s, after=found.until, dry_run=dry_run)
            if one is None:
                raise Busy("another process reconciles just now: try again in a moment")
            again, opened_, left = again + one.again, opened_ + one.open, left + one.left
            if not one.until:
                break
            found = one
    say(f"{again} orders {'would be' if dry_run else 'are'} synced again")
    say(f"{opened_} are open, and the bus delivers them")
    if left:
        say(f"{left} have no end after {MOST_RUNS} more runs, or cannot be read: see `ferryman orders list`")
