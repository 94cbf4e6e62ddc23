"""`ferryman records replicas`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from adapters.postgres.records import replicas as stored
from adapters.postgres.records.replicas import Replica
from daemon.cli.arguments import parse_words, require_known
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import DryRun, Json, Yes, confirm, opened, operator, shown_time
from daemon.operator.faults import NotThere
from daemon.settings.model import Settings
from schemas.errors import UsageError

ACTIONS: Final = ("list", "forget")
MOST: Final = 1000


def _action(text: str) -> str:
    """The parser of what is done. Raises: typer.BadParameter."""
    require_known("ACTION", text, ACTIONS)
    return text


def replicas(
    action: Annotated[str, typer.Argument(metavar="[ACTION]", parser=_action, help="list, or forget.")] = "list",
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", parser=parse_words, help="Of the one to forget.")
    ] = None,
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """The phones, laptops and edges that push here, whose each is, and when it has pushed last. `forget NAME`: anybody
    may push under that name again; what it has pushed stays."""
    settings = read_settings()
    if action == "list":
        if name is not None or dry_run or yes:
            raise UsageError("NAME, --dry-run and --yes go with `forget`")
        run_async(_list(settings, json))
        return
    if name is None or json:
        raise UsageError("`forget` takes the NAME of a replica, and no --json: see `ferryman records replicas list`")
    run_async(_forget(settings, name, dry_run, yes))


_UNKNOWN: Final = "there is no such replica: see `ferryman records replicas list`"


async def _list(settings: Settings, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await stored.listed(pool, MOST)
    if json:
        show_json([one._asdict() for one in found])
        return
    if found:
        columns = ("replica", "of", "last push (UTC)", "first push (UTC)")
        show_table(columns, [_row(one) for one in found], fit=False)
    say({0: "no replica has pushed yet", 1: "1 replica"}.get(len(found), f"{len(found)} replicas"))


def _row(one: Replica) -> list[str]:
    return [one.replica, one.principal, shown_time(one.pushed_at), shown_time(one.created_at)]


async def _forget(settings: Settings, name: str, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (_, pool):
        one = await stored.find(pool, name)
        if one is None:
            raise NotThere(_UNKNOWN)
        what = f"the replica {one.replica} of {one.principal}"
        if dry_run:
            say(f"{what} would be forgotten")
            return
        confirm(f"forget {what}?", f"forget {what}", yes=yes)
        if not await stored.forget(pool, name, operator()):
            raise NotThere(_UNKNOWN)
    say(f"{what} is forgotten: whoever pushes under its name next has it")
