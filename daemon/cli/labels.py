"""`ferryman labels`."""

from __future__ import annotations

import typer

from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import progress, say, show_json, show_table
from daemon.cli.tools import DryRun, Json
from daemon.operator import labels
from daemon.operator.labels import Made
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings

app = typer.Typer(help="The labels of the Chatwoot account.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command()
def create(dry_run: DryRun = False, json: Json = False) -> None:
    """Make the labels of labels.toml in the account, with their colours. What is there is left as it is, so it may be
    run again. The token must be an administrator's."""
    made = run_async(_create(read_settings(), dry_run, json))
    if json:
        show_json(labels.document(made, dry_run=dry_run))
    else:
        _say(made, dry_run)


async def _create(settings: Settings, dry_run: bool, json: bool) -> list[Made]:
    wanted = labels.catalog(settings)
    async with labels.open_crm(InForce(settings)) as crm:
        if dry_run:
            return await labels.create(crm, wanted, dry_run=True)
        with progress("labels", err=json) as told:
            return await labels.create(crm, wanted, told=told)


def _say(made: list[Made], dry_run: bool) -> None:
    words = {"new": "would be made" if dry_run else "made", "there": "there already", "differs": "another colour, left"}
    show_table(("label", "what became of it", "colour"), [[one.title, words[one.state], one.color] for one in made])
    counts = {state: sum(one.state == state for one in made) for state in words}
    say(
        f"{len(made)} labels: {counts['new']} {words['new']}, {counts['there'] + counts['differs']} there already"
        f" ({counts['differs']} of another colour)"
    )
