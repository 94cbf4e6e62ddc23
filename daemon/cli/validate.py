"""`ferryman validate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from daemon.bus.worker import utc_now
from daemon.cli.arguments import parse_words
from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED
from daemon.cli.screen import progress, say, show_json, show_table
from daemon.cli.tools import DryRun, Json, Yes, confirm, content_of, opened, shown_time
from daemon.operator import validation
from daemon.operator.validation import Standing
from daemon.settings.model import Settings
from schemas.errors import UsageError

_ANSWERS: Final = {True: "yes", False: "no", None: "not known"}


def validate(
    numbers: Annotated[
        list[str] | None,
        typer.Argument(metavar="PHONE…", help="With + and the country code.", parser=parse_words),
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A file with one number in each line.")] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask the checkers now, and keep what they say.")] = False,
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Whether numbers are on WhatsApp: what is known, by which source, since when and until when."""
    wanted = [*(numbers or ()), *(() if file is None else _lines(file))]
    if not wanted:
        raise UsageError("there is no number: give some, or --file with one in each line")
    standings = run_async(_validate(read_settings(), wanted, ask and not dry_run, json, yes or file is None))
    if ask and dry_run:
        say(f"{sum(one.phone is not None for one in standings)} numbers would be asked for", err=json)
    if any(one.problem for one in standings):
        raise typer.Exit(FAILED)


def _lines(file: Path) -> list[str]:
    """The numbers of *file*; empty lines and those that begin with # are left out. Raises: NotRead."""
    lines = content_of(file).decode(errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


async def _validate(settings: Settings, typed: list[str], ask: bool, json: bool, yes: bool) -> list[Standing]:
    async with opened(settings) as (addresses, pool):
        standings = await validation.look_up(pool, settings, typed, utc_now())
        if ask:
            count = sum(one.phone is not None for one in standings)
            confirm(f"ask the checkers for {count} numbers?", f"ask the checkers for {count} numbers", yes=yes)
            with progress("asked", err=True) as told:
                standings = await validation.ask(pool, settings, addresses.redis_url, standings, told)
    _show(standings, json)
    return standings


def _show(standings: list[Standing], json: bool) -> None:
    """What is known on standard output, and a line on standard error for each number with a problem."""
    documents = [one.document(utc_now()) for one in standings]
    if json:
        show_json(documents)
    elif rows := [_row(one) for one in documents if one["phone"] is not None]:
        show_table(("number", "on WhatsApp", "by", "since (UTC)", "until (UTC)"), rows, fit=False)
    for one in documents:
        if one["problem"] is not None:
            say(f"ferryman: {one['number']}: {one['problem']}", err=True)


def _row(one: Mapping[str, Any]) -> list[str]:
    times = [shown_time(one["checked_at"]), shown_time(one["expires_at"])]
    return [one["phone"], _ANSWERS[one["has_whatsapp"]], one["source"] or "", *times]
