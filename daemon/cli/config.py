"""`ferryman config show`."""

from __future__ import annotations

import typer

from daemon.cli.context import read_settings
from daemon.cli.screen import show_json, show_table
from daemon.cli.tools import Json
from daemon.settings.load import shown

app = typer.Typer(help="The settings in force.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `show` a verb of its own: without a callback, Typer would treat a single verb as the command itself."""


@app.command()
def show(json: Json = False) -> None:
    """Every setting with its value and its origin; secrets are masked."""
    rows = shown(read_settings())
    if json:
        show_json({name: {"value": value, "from": origin} for name, value, origin in rows})
        return
    show_table(("setting", "value", "from"), rows)
