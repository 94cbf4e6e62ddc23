"""`ferryman uncertain`."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.bus.worker import utc_now
from daemon.cli.arguments import parse_words
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import DryRun, Json, Yes, confirm, opened, operator, shown_time
from daemon.operator import uncertain
from daemon.operator.messages import id_meant
from daemon.operator.uncertain import Verdict
from daemon.settings.model import Settings
from schemas.errors import UsageError

app = typer.Typer(help="Messages that may have been sent, and nobody knows.", no_args_is_help=True)


@app.command("list")
def list_(json: Json = False) -> None:
    """What is uncertain, the oldest first: a call went out, and no answer tells its end."""
    run_async(_list(read_settings(), json))


@app.command()
def settle(
    message: Annotated[
        str, typer.Argument(metavar="MESSAGE", help="Its id, as `list` shows it, or the beginning.", parser=parse_words)
    ],
    sent: Annotated[bool, typer.Option("--sent", help="The person has it: nothing is sent.")] = False,
    again: Annotated[bool, typer.Option("--again", help="They have not: send it once more.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Say what you have found out about an uncertain message: it was sent, or it is to be sent again."""
    if sent is again:
        raise UsageError("say what you have found out: --sent or --again")
    run_async(_settle(read_settings(), message, "sent" if sent else "again", dry_run, yes))


async def _list(settings: Settings, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await uncertain.listed(pool)
    if json:
        show_json(found)
        return
    rows = [
        [
            *(one["id"], one["provider"], one["phone"] or "", one["kind"], shown_time(one["claimed_at"])),
            *(one["error"] or "", one["evidence"]["text"]),
        ]
        for one in found
    ]
    if rows:
        show_table(("message", "provider", "to", "kind", "sent at (UTC)", "why", "evidence"), rows, fit=False)
    say(f"{len(rows)} uncertain" if rows else "nothing is uncertain")


async def _settle(settings: Settings, wanted: str, verdict: Verdict, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (_, pool):
        message = await id_meant(pool, wanted)
        status = await uncertain.settle(pool, message, verdict, operator(), utc_now(), dry_run=True)
        if dry_run:
            say(f"the message {message} would be {status}")
            return
        if verdict == "again":
            confirm("send it once more?", "send a message that the person may have already", yes=yes)
        status = await uncertain.settle(pool, message, verdict, operator(), utc_now(), dry_run=False)
    say(f"the message {message} is {status}")
