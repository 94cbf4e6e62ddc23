"""`ferryman records compact|new-epoch|check`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import DryRun, Json, opened, operator
from daemon.operator import records_upkeep
from daemon.records import upkeep
from daemon.records.checking import Found
from daemon.settings.model import Settings


def compact(dry_run: DryRun = False, json: Json = False) -> None:
    """Take away what is older than the settings keep, as the daemon does every hour: deleted records, and what was
    kept for replicas that were away."""
    gone = run_async(_compact(read_settings(), dry_run))
    if json:
        show_json(gone)
        return
    told = ", ".join(f"{count} {kind}" for kind, count in gone.items())
    say(f"would go: {told}" if dry_run else f"gone: {told}")


def new_epoch(
    copied: Annotated[
        bool,
        typer.Option("--copied", help="The database is a copy of another server's: it gets a name of its own."),
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Have every replica pull all records anew, and keep what it has not pushed yet. For a database of which you know
    that it is not what its replicas have seen: a restored one is noticed by itself. One that was copied to make another
    server of it needs --copied, there."""
    named = ", and this server would take a name of its own" if copied else ""
    if dry_run:
        say(f"every replica would pull all its records anew with its next pull{named}")
        return
    epoch = run_async(_new_epoch(read_settings(), copied))
    named = ", and this server has a name of its own" if copied else ""
    say(f"epoch {epoch} has begun{named}: every replica pulls all its records anew with its next pull")


def check(json: Json = False) -> None:
    """Look whether the stored records agree with themselves and the ledger, and on an edge, with the upstream. Exit
    code 1 where they do not."""
    own, compared = run_async(_check(read_settings()))
    if json:
        show_json({"store": _document(own), "upstream": None if compared is None else _document(compared)})
    else:
        _say("records", own)
        if compared is not None:
            _say("records of the upstream", compared)
    if own.count or (compared is not None and compared.count):
        raise typer.Exit(FAILED)


async def _compact(settings: Settings, dry_run: bool) -> dict[str, int]:
    async with opened(settings) as (_, pool):
        return await upkeep.compact(pool, settings, dry_run=dry_run)


async def _new_epoch(settings: Settings, copied: bool) -> int:
    async with opened(settings) as (_, pool):
        return await records_upkeep.new_epoch(pool, operator(), copied=copied)


async def _check(settings: Settings) -> tuple[Found, Found | None]:
    async with opened(settings) as (_, pool):
        return await records_upkeep.check(pool, settings)


def _document(found: Found) -> dict[str, Any]:
    faults = [{"model": one.model or None, "id": one.record_id or None, "fault": one.what} for one in found.faults]
    return {"records": found.records, "faults": found.count, "first": faults}


def _say(what: str, found: Found) -> None:
    say(f"{found.records} {what}: {found.count} faults" if found.count else f"{found.records} {what}: sound")
    if found.faults:
        show_table(("model", "record", "fault"), [[*one] for one in found.faults], fit=False)
