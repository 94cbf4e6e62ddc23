"""`ferryman refused`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.registry import SOURCES
from daemon.bus.worker import utc_now
from daemon.cli.arguments import MOST_NUMBER
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import DryRun, Json, content_of, opened, operator, shown_json, shown_time
from daemon.operator import refused
from daemon.operator.keys import masked_key
from daemon.settings.model import Settings

app = typer.Typer(help="Webhooks that were refused: why, and sending them again.", no_args_is_help=True)

Number = Annotated[int, typer.Argument(metavar="NUMBER", help="As `list` names it.", min=1, max=MOST_NUMBER)]


@app.command("list")
def list_(
    kept: Annotated[bool, typer.Option("--kept", help="Only those that can be sent again.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    json: Json = False,
) -> None:
    """The newest refused webhooks."""
    run_async(_list(read_settings(), kept, limit, json))


@app.command()
def show(number: Number, json: Json = False) -> None:
    """One of them in full, with its body where that is kept."""
    run_async(_show(read_settings(), number, json))


@app.command()
def resend(
    number: Number,
    edit: Annotated[
        Path | None,
        typer.Option(help="A file with the mended body, or with what `show --json` printed, mended."),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Take an authentic webhook in after all. A running daemon delivers it."""
    run_async(_resend(read_settings(), number, None if edit is None else content_of(edit), dry_run))


async def _list(settings: Settings, kept: bool, limit: int, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await refused.newest(pool, limit, to_send=kept)
    if json:
        show_json(found)
        return
    if not found:
        say("no refused webhooks")
        return
    rows = []
    for one in found:
        size = "" if one["body_bytes"] is None else str(one["body_bytes"])
        fields = str(one["number"]), shown_time(one["at"]), one["source"], str(one["status"]), one["reason"], size
        rows.append([*fields, str(one["suppressed"]), shown_time(one["sent_again_at"]), one["path"] or ""])
    columns = ("number", "at (UTC)", "source", "status", "reason", "bytes", "and alike", "sent again", "path")
    show_table(columns, rows)


async def _show(settings: Settings, number: int, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await refused.find(pool, number)
    body = found.request.body
    if json:
        show_json(refused.whole_document(found))
        return
    for name, value in refused.document(found).items():
        if value is not None:
            say(f"{name:13} {_shown(value)}")
    say("" if body is None else shown_json(body) + "\n", lines=True)


def _shown(value: Any) -> str:
    match value:
        case datetime():
            return shown_time(value)
        case dict():
            return ", ".join(f"{name}: {text}" for name, text in value.items())
        case tuple():
            return ", ".join(value)
    return str(value)


async def _resend(settings: Settings, number: int, body: bytes | None, dry_run: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await refused.find(pool, number)
        events = refused.events_of(found, SOURCES, utc_now(), body=body)
        known = await refused.known(pool, events)
        for event in events:
            here = ", which is here already: nothing comes of it" if event.id in known else ""
            say(f"{event.type} {event.id}, under the key {masked_key(event.subject)}{here}")
        if dry_run:
            return
        await refused.send(pool, number, events, operator())
    if new := len(events) - len(known):
        say(f"{new} on their way: a running daemon delivers them within seconds")
