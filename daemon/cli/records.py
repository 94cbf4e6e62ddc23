"""`ferryman records`: the verbs about records, each topic in a file of its own."""

from __future__ import annotations

import typer

app = typer.Typer(help="Records that apps and branch offices write, and how they come together.", no_args_is_help=True)
