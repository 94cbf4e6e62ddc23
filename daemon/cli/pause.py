"""`ferryman pause` and `ferryman resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters.postgres.bus import pauses
from adapters.postgres.pool import connect
from daemon.cli.context import read_settings, run_async
from daemon.settings.model import Settings
from daemon.stores.located import located_stores
from daemon.workers import WORKERS
from schemas.errors import FerrymanError

Name = Annotated[str, typer.Argument(metavar="WORKER|PROVIDER")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]


class UnknownName(FerrymanError):
    """There is no such worker and no such provider."""


def pause(name: Name, dry_run: DryRun = False) -> None:
    """Stop a worker, or all calls to a provider, in every process, within two seconds. Webhooks are accepted as
    before."""
    done = run_async(_change(read_settings(), name, paused=True, dry_run=dry_run))
    typer.echo(f"{name} {'would be paused' if dry_run else 'is paused'}" if done else f"{name} was paused already")


def resume(name: Name, dry_run: DryRun = False) -> None:
    """Let a paused worker or provider go on, in every process, within two seconds."""
    done = run_async(_change(read_settings(), name, paused=False, dry_run=dry_run))
    typer.echo(f"{name} {'would go on' if dry_run else 'goes on'}" if done else f"{name} was not paused")


async def _change(settings: Settings, name: str, *, paused: bool, dry_run: bool) -> bool:
    names = sorted({w.name for w in WORKERS} | {channel for w in WORKERS for channel in w.channels})
    if name not in names:
        raise UnknownName(f"there is no worker or provider {name}: there are {', '.join(names)}")
    async with located_stores(settings, join=True) as addresses, connect(addresses.database_url, size=1) as pool:
        if dry_run:
            return (name in await pauses.paused(pool)) != paused
        return await (pauses.pause if paused else pauses.resume)(pool, name)
