"""`ferryman records`: the verbs about records, each topic in a file of its own."""

from __future__ import annotations

import typer

from daemon.cli.records_conflicts import conflicts, resolve

app = typer.Typer(help="Records that apps and branch offices write, and how they come together.", no_args_is_help=True)
app.command()(conflicts)
app.command()(resolve)
