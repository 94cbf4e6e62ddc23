"""`ferryman rules`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from daemon.cli.arguments import parse_words
from daemon.cli.context import read_settings
from daemon.cli.exits import FAILED
from daemon.cli.screen import say, show_json
from daemon.cli.tools import DryRun, Json
from daemon.rules import files, folder
from daemon.workers import rule_files

FOLDER: Final = Path("rules")
"""Where the files are written, where nothing names another place."""

app = typer.Typer(help="What an operator may decide, in files.", no_args_is_help=True)


@app.command()
def check(json: Json = False) -> None:
    """Say which rule files count, shipped ones or those of FERRYMAN_RULES_DIR, or all that is wrong with them. Exit
    code 1 when something is."""
    given = read_settings().ferryman_rules_dir
    problems = files.check(given, rule_files())
    sources = {file.name: str(files.own(given, file) or "shipped") for file in rule_files()}
    if json:
        show_json({"ok": not problems, "files": sources, "problems": [asdict(problem) for problem in problems]})
    elif problems:
        for problem in problems:
            say(str(problem))
    else:
        for name, source in sources.items():
            say(f"{name}: {source}")
    if problems:
        raise typer.Exit(FAILED)


@app.command()
def init(
    into: Annotated[
        str | None,
        typer.Argument(metavar="FOLDER", help="FERRYMAN_RULES_DIR, else ./rules.", parser=parse_words),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Write the shipped rule files into a folder, to be changed there. A file that is there is left as it is."""
    given = read_settings().ferryman_rules_dir
    wanted = Path(into) if into is not None else given or FOLDER
    for path, new in folder.init(wanted, rule_files(), dry_run=dry_run):
        if new:
            say(f"{path}: {'would be written' if dry_run else 'written'}")
        else:
            say(f"{path}: left as it is")
    if given is None or given.absolute() != wanted.absolute():
        say(f"these count where FERRYMAN_RULES_DIR is {wanted.absolute()}, from the next start on")
