"""`ferryman config show`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import Json, opened, shown_time
from daemon.operator.members import Member, read_members
from daemon.settings.load import NAMES, shown
from daemon.settings.model import Settings

app = typer.Typer(help="The settings in force.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `show` a verb of its own: without a callback, Typer would treat a single verb as the command itself."""


@app.command()
def show(
    running: Annotated[
        bool, typer.Option("--running", help="Those of the processes that run, as they report.")
    ] = False,
    json: Json = False,
) -> None:
    """Every setting with its value and its origin, as a process that starts from here has it; secrets are masked."""
    if running:
        _show_running(run_async(_running(read_settings())), json)
        return
    rows = shown(read_settings())
    if json:
        show_json({name: {"value": value, "from": origin} for name, value, origin in rows})
        return
    show_table(("setting", "value", "from"), rows)


async def _running(settings: Settings) -> list[Member]:
    async with opened(settings) as (_, pool):
        return await read_members(pool)


def _show_running(members: Sequence[Member], json: bool) -> None:
    """The settings of each live process, in a column of its own."""
    if json:
        show_json({member.id: member.report.settings for member in members})
        return
    if not members:
        say("no daemon runs")
        return
    for member in members:
        report = member.report
        say(f"{member.named}: settings {report.settings_digest}, read {shown_time(report.settings_at)} UTC")
        if report.credentials:
            say(f"stored accounts, which go before those of the settings: {', '.join(report.credentials)}")
    reported = {name for member in members for name in member.report.settings}
    names = [name for name in NAMES if name in reported]
    names += sorted(reported.difference(names))  # templates, and settings of another version
    rows = [[name, *(member.report.settings.get(name, "") for member in members)] for name in names]
    show_table(("setting", *(member.id[:8] for member in members)), rows)
