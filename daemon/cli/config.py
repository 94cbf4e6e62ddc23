"""`ferryman config show`."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table

from daemon.cli.context import read_settings
from daemon.cli.tools import Json, print_json
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
        print_json({name: {"value": value, "from": origin} for name, value, origin in rows})
        return
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console(soft_wrap=True).print(table)
