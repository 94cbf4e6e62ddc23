"""`ferryman send`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from adapters.postgres import credentials
from daemon.bus.worker import utc_now
from daemon.cli.automatic import automatic
from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED
from daemon.cli.screen import say, show_json
from daemon.cli.sent import NAMES, as_known, last_state, say_standing
from daemon.cli.tools import Ahead, DryRun, Json, Text, Yes, confirm, opened
from daemon.operator import messages, sending
from daemon.operator.templates import known_for
from daemon.settings.model import Settings
from schemas.api.messages import MessageIn
from schemas.api.wrong import told
from schemas.credentials import DEFAULT
from schemas.errors import UsageError

app = typer.Typer(help="Send a message to a person.", no_args_is_help=True)

To = Annotated[str, typer.Argument(metavar="PHONE", help="With + and the country code.")]
Provider = Annotated[str | None, Text("--provider", help="cgb, chatwoot, meta, twilio, whapi; else the default one.")]
Account = Annotated[str, Text("--account", help="Of the provider: which credentials.")]
Key = Annotated[str | None, Text("--key", help="The same key again sends nothing more.")]
At = Annotated[datetime | None, Ahead("--at", help="Not before this time.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for what becomes of it, at most a minute; of what is sent, 15 seconds.")
]


@app.command()
def text(
    to: To,
    body: Annotated[str, typer.Argument(metavar="TEXT")],
    provider: Provider = None,
    account: Account = DEFAULT,
    key: Key = None,
    at: At = None,
    wait: Wait = False,
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Free text: only to a person who has written within 24 hours."""
    given = {"to": to, "text": body, "provider": provider, "account": account, "not_before": at}
    _run(given, key, wait, json, dry_run, yes)


@app.command()
def template(
    to: To,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    language: Annotated[str | None, Text("--language", help="Of the template, as he or en_US.")] = None,
    var: Annotated[list[str] | None, typer.Option("--var", metavar="NAME=VALUE", help="A variable.")] = None,
    provider: Provider = None,
    account: Account = DEFAULT,
    key: Key = None,
    at: At = None,
    wait: Wait = False,
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """A template of the provider."""
    content = {"name": name, "language": language, "variables": _variables(var or [])}
    given = {"to": to, "template": content, "provider": provider, "account": account, "not_before": at}
    _run(given, key, wait, json, dry_run, yes)


@app.command()
def media(
    to: To,
    url: Annotated[str, typer.Argument(metavar="URL")],
    type: Annotated[str, Text("--type", help="image, video, audio or document.")] = "document",
    caption: Annotated[str | None, Text("--caption", help="Words beside it.")] = None,
    filename: Annotated[str | None, Text("--filename", help="Of a document.")] = None,
    provider: Provider = None,
    account: Account = DEFAULT,
    key: Key = None,
    at: At = None,
    wait: Wait = False,
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """A file at an address."""
    content = {"url": url, "type": type, "caption": caption, "filename": filename}
    given = {"to": to, "media": content, "provider": provider, "account": account, "not_before": at}
    _run(given, key, wait, json, dry_run, yes)


@app.command()
def choices(
    to: To,
    body: Annotated[str, typer.Argument(metavar="TEXT")],
    choice: Annotated[
        list[str],
        typer.Option("--choice", metavar="TITLE", help="What may be tapped; once for each, ten at most."),
    ],
    provider: Provider = None,
    account: Account = DEFAULT,
    key: Key = None,
    at: At = None,
    wait: Wait = False,
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Free text with buttons, or with a list where there are more than three. The answer is the title, or VALUE of
    TITLE=VALUE."""
    content = {"text": body, "items": [_choice(one) for one in choice]}
    given = {"to": to, "choices": content, "provider": provider, "account": account, "not_before": at}
    _run(given, key, wait, json, dry_run, yes)


app.command()(automatic)


def _choice(given: str) -> dict[str, str]:
    title, _, value = given.partition("=")
    return {"title": title, "value": value or title}


def _variables(given: list[str]) -> dict[str, str]:
    """Raises: UsageError."""
    pairs = [one.partition("=") for one in given]
    if not all(name and equals for name, equals, _ in pairs):
        raise UsageError("write each --var as NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _run(given: Mapping[str, Any], key: str | None, wait: bool, json: bool, dry_run: bool, yes: bool) -> None:
    try:
        message = MessageIn.model_validate(given)
    except ValidationError as exc:
        raise UsageError(f"that cannot be sent: {told(exc, NAMES)}") from None
    run_async(_send(read_settings(), message, key, wait, json, dry_run, yes))


async def _send(
    settings: Settings, message: MessageIn, key: str | None, wait: bool, json: bool, dry_run: bool, yes: bool
) -> None:
    async with opened(settings) as (_, pool):
        known = await known_for(pool, settings, message.provider, message.account, message.template_name)
        accounts = await credentials.names(pool)
        request = sending.check(settings, message, utc_now(), known=known, accounts=accounts)
        if dry_run:
            why_not = await messages.foreseen(pool, request, utc_now())
            say(f"would be sent by {request.provider} to {request.phone}{as_known(why_not)}")
            return
        confirm(f"send it by {request.provider} to {request.phone}?", "send a message to a person", yes=yes)
        queued = await sending.send(pool, settings, message, purpose="cli", key=key, now=utc_now())
        document = await last_state(pool, queued.id) if wait else await sending.show(pool, queued.id)
        waits = await messages.waits_for(pool, document, utc_now()) if wait or document["not_before"] else None
    if json:
        show_json(document)
    else:
        say_standing(document, waits)
    if document["status"] in ("failed", "skipped", "uncertain"):
        raise typer.Exit(FAILED)
