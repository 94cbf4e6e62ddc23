"""`ferryman records erase`."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters.postgres.records import reading
from adapters.postgres.records.reading import Wanted
from daemon.cli.arguments import parse_words
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say
from daemon.cli.tools import DryRun, Yes, confirm, opened, operator
from daemon.operator.faults import NotThere
from daemon.settings.model import Settings


def erase(
    model: Annotated[str, typer.Argument(metavar="MODEL", parser=parse_words, help="As Lead.")],
    id: Annotated[str, typer.Argument(metavar="ID", parser=parse_words, help="Of the record.")],
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Forget for good what a record holds, for privacy: its fields, the values that met in it, and what waits for an
    upstream. Its replicas drop it with their next pull, and nothing brings it back."""
    run_async(_erase(read_settings(), model, id, dry_run, yes))


async def _erase(settings: Settings, model: str, id: str, dry_run: bool, yes: bool) -> None:
    from daemon.operator.records_service import records_of

    async with opened(settings) as (addresses, pool):
        (seen,) = await reading.read(pool, [Wanted(model, id, None, None, None, None)])
        if seen.stored is None:
            raise NotThere("there is no such record")
        what = f"{model} {id}"
        if seen.stored.erased:
            say(f"{what} was erased before")
            return
        if dry_run:
            say(f"{what} would be erased")
            return
        confirm(f"erase {what} for good?", f"erase {what}", yes=yes)
        async with records_of(settings, addresses, pool) as records:
            if not await records.erase(model, id, by=operator()):
                say(f"{what} was erased before")
                return
    elsewhere = f"; erase it at the upstream {settings.sync_upstream_url} too" if settings.sync_upstream_url else ""
    say(f"{what} is erased{elsewhere}")
