"""`ferryman tail`, which is `ferryman events tail`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final

import typer

from daemon.cli.arguments import require_known
from daemon.cli.completing import workers
from daemon.cli.context import read_settings, run_async
from daemon.cli.emitters import EMITTERS
from daemon.cli.following import until_stopped_do
from daemon.cli.screen import say_coloured, show_line
from daemon.cli.tools import Text, opened, shown_time
from daemon.operator.tailing import OUTCOMES, Happened, TailFilter
from daemon.operator.tailing import tail as followed
from daemon.settings.model import Settings
from daemon.workers import WORKERS
from schemas.envelope import TYPES

COLOURS: Final = {"accepted": "cyan", "done": "green", "skipped": "yellow", "dead": "red", "uncertain": "magenta"}


def tail(
    source: Annotated[str | None, Text("--source", help="Only events of this source.")] = None,
    type: Annotated[str | None, typer.Option(help="Only events of this type.")] = None,
    worker: Annotated[str | None, typer.Option(help="Only how this worker ends.", autocompletion=workers)] = None,
    outcome: Annotated[str | None, typer.Option(help=f"Only these: {', '.join(OUTCOMES)}.")] = None,
    key: Annotated[str | None, Text("--key", help="Events of one person: a phone, an e-mail address.")] = None,
    json: Annotated[bool, typer.Option("--json", help="A JSON document in each line.")] = False,
) -> None:
    """Follow what arrives and how it ends, a line each, until Ctrl-C. Keys are masked; ms is the time since it
    arrived."""
    require_known("--source", source, EMITTERS)
    require_known("--type", type, list(TYPES))
    require_known("--worker", worker, [w.name for w in WORKERS])
    require_known("--outcome", outcome, OUTCOMES)
    wanted = TailFilter(type=type, source=source, worker=worker, outcome=outcome, key=key)
    run_async(_tail(read_settings(), wanted, json))


async def _tail(settings: Settings, wanted: TailFilter, json: bool) -> None:
    async with opened(settings) as (_, pool):
        await until_stopped_do(_print_each(followed(pool, wanted), json))


async def _print_each(happening: AsyncIterator[Happened], json: bool) -> None:
    async for one in happening:
        if json:
            show_line(one.document())
            continue
        text = f"{shown_time(one.at)}  {one.event}  {one.type}  from {one.source}  {one.key}  "
        if one.worker is None:
            say_coloured(text, one.outcome, COLOURS[one.outcome])
            continue
        reason = f" ({one.reason})" if one.reason else ""
        end = f"{one.worker}: {one.outcome}{reason}{' replay' if one.replay else ''}"
        say_coloured(text, end, COLOURS.get(one.outcome, ""), f"  {one.ms} ms")
