"""`ferryman pause` and `ferryman resume`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from adapters.redis import streams
from daemon.cli.arguments import parse_words
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say
from daemon.cli.tools import DryRun, opened
from daemon.operator import pauses
from daemon.settings.model import Settings
from daemon.workers import WORKERS

TIMEOUT_S: Final = 5.0


def _known(name: str) -> str:
    """The parser of a name. Raises: typer.BadParameter, with the names that there are."""
    try:
        pauses.require_known(parse_words(name), WORKERS)
    except pauses.UnknownName as exc:
        raise typer.BadParameter(str(exc)) from exc
    return name


Name = Annotated[str, typer.Argument(metavar="WORKER|PROVIDER[/ACCOUNT]", parser=_known)]


def pause(name: Name, dry_run: DryRun = False) -> None:
    """Stop a worker, or all calls to a provider, in every process, within two seconds. Webhooks are accepted as
    before."""
    changes = run_async(_set(read_settings(), name, paused=True, dry_run=dry_run))
    say(f"{name} {'would be paused' if dry_run else 'is paused'}" if changes else f"{name} was paused already")


def resume(name: Name, dry_run: DryRun = False) -> None:
    """Let a paused worker or provider go on, in every process, within two seconds; within five where the provider
    itself had asked us to wait. Calls that have stopped, as the provider was away or has refused the account, are
    tried again at once."""
    changes = run_async(_set(read_settings(), name, paused=False, dry_run=dry_run))
    say(f"{name} {'would go on' if dry_run else 'goes on'}" if changes else f"{name} was not paused")


async def _set(settings: Settings, name: str, *, paused: bool, dry_run: bool) -> bool:
    async with opened(settings) as (addresses, pool):
        redis = streams.client(addresses.redis_url, timeout_s=TIMEOUT_S, connections=1)
        try:
            return await pauses.set_paused(pool, redis, WORKERS, name, paused=paused, dry_run=dry_run)
        finally:
            await redis.aclose()
