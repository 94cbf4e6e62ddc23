"""`ferryman chatwoot`."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Annotated

import typer

from adapters.http import open_session
from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED
from daemon.cli.screen import say, show_json
from daemon.cli.tools import DryRun, Json, opened, operator
from daemon.conversations.labels.rules import LABELS, LabelRules
from daemon.operator import chatwoot_setup
from daemon.operator.labels import open_crm
from daemon.operator.steps import Step, document, sound
from daemon.operator.webhook_secret import Keeper, Revealed, Stored
from daemon.rules.files import load
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings

app = typer.Typer(help="The Chatwoot account of the settings.", no_args_is_help=True)

Reveal = Annotated[
    bool, typer.Option("--reveal", help="Show the webhook's secret, to be set by hand; store it nowhere.")
]


@app.callback()
def _group() -> None:
    pass


@app.command()
def setup(dry_run: DryRun = False, reveal: Reveal = False, json: Json = False) -> None:
    """Look at token, account and inbox; make or repair the webhook, store its secret, and make labels and attributes.
    A second run changes nothing. Exit code 1 where something is wrong."""
    settings = read_settings()
    rules = load(settings.ferryman_rules_dir, LABELS)
    revealed = Revealed() if reveal else None
    steps = run_async(_setup(settings, rules, revealed, dry_run=dry_run, quiet=json))
    if json:
        beside = {} if revealed is None else {"webhook_secret": revealed.secret}
        show_json({**document(steps), **beside})
    elif revealed is not None and revealed.secret is not None:
        say(f"CHATWOOT_WEBHOOK_SECRET={revealed.secret}")
    if not sound(steps):
        raise typer.Exit(FAILED)


async def _setup(
    settings: Settings, rules: LabelRules, revealed: Revealed | None, *, dry_run: bool, quiet: bool
) -> list[Step]:
    """The steps, each shown when it is done but where *quiet*."""
    steps = []
    async with AsyncExitStack() as stack:
        keeper: Keeper | None = revealed
        if keeper is None:
            make = not dry_run and not chatwoot_setup.lacking(settings)
            _, pool = await stack.enter_async_context(opened(settings, make=make))
            keeper = Stored(pool, settings, operator())
        chatwoot_setup.require(settings)
        session = await stack.enter_async_context(open_session())
        crm = await stack.enter_async_context(open_crm(InForce(settings)))
        async for step in chatwoot_setup.set_up(session, settings, rules, crm, keeper, dry_run=dry_run):
            steps.append(step)
            if not quiet:
                say(str(step))
    return steps
