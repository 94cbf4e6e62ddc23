"""`ferryman send`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from pydantic import ValidationError

from adapters.postgres.pool import Pool
from daemon.bus.worker import utc_now
from daemon.cli.automatic import automatic
from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED
from daemon.cli.screen import say, show_json
from daemon.cli.tools import DryRun, Json, Text, When, Yes, confirm, opened
from daemon.operator import sending
from daemon.settings.model import Settings
from schemas.api.messages import MessageIn
from schemas.credentials import DEFAULT
from schemas.errors import UsageError

app = typer.Typer(help="Send a message to a person.", no_args_is_help=True)

WAIT_S: Final = 60.0
LOOK_S: Final = 0.2
_LAST: Final = frozenset({"sent", "delivered", "read", "played", "failed", "uncertain", "skipped", "canceled"})

To = Annotated[str, typer.Argument(metavar="PHONE", help="With + and the country code.")]
Provider = Annotated[str | None, Text("--provider", help="cgb, chatwoot, meta, twilio, whapi; else the default one.")]
Account = Annotated[str, Text("--account", help="Of the provider: which credentials.")]
Fallback = Annotated[
    str | None, Text("--fallback", help="As twilio,whapi: by which it goes where the provider is down.")
]
Key = Annotated[str | None, Text("--key", help="The same key again sends nothing more.")]
At = Annotated[datetime | None, When("--at", help="Not before this time.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for what becomes of it, at most a minute.")]


@app.command()
def text(
    to: To,
    body: Annotated[str, typer.Argument(metavar="TEXT")],
    provider: Provider = None,
    account: Account = DEFAULT,
    fallback: Fallback = None,
    key: Key = None,
    at: At = None,
    wait: Wait = False,
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Free text: only to a person who has written within 24 hours."""
    given = {"to": to, "text": body, "provider": provider, "account": account, "fallback": _named(fallback)}
    _run(given | {"not_before": at}, key, wait, json, dry_run, yes)


@app.command()
def template(
    to: To,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    language: Annotated[str | None, Text("--language", help="Of the template, as he or en_US.")] = None,
    var: Annotated[list[str] | None, typer.Option("--var", metavar="NAME=VALUE", help="A variable.")] = None,
    provider: Provider = None,
    account: Account = DEFAULT,
    fallback: Fallback = None,
    key: Key = None,
    at: At = None,
    wait: Wait = False,
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """A template of the provider."""
    content = {"name": name, "language": language, "variables": _variables(var or [])}
    given = {"to": to, "template": content, "provider": provider, "account": account, "fallback": _named(fallback)}
    _run(given | {"not_before": at}, key, wait, json, dry_run, yes)


@app.command()
def media(
    to: To,
    url: Annotated[str, typer.Argument(metavar="URL")],
    type: Annotated[str, Text("--type", help="image, video, audio or document.")] = "document",
    caption: Annotated[str | None, Text("--caption", help="Words beside it.")] = None,
    filename: Annotated[str | None, Text("--filename", help="Of a document.")] = None,
    provider: Provider = None,
    account: Account = DEFAULT,
    fallback: Fallback = None,
    key: Key = None,
    at: At = None,
    wait: Wait = False,
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """A file that the provider fetches at an address."""
    content = {"url": url, "type": type, "caption": caption, "filename": filename}
    given = {"to": to, "media": content, "provider": provider, "account": account, "fallback": _named(fallback)}
    _run(given | {"not_before": at}, key, wait, json, dry_run, yes)


app.command()(automatic)


def _named(given: str | None) -> list[str] | None:
    return None if given is None else [name for part in given.split(",") if (name := part.strip())]


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
        errors = exc.errors(include_input=False, include_context=False, include_url=False)
        told = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in errors[:5])
        raise UsageError(f"that cannot be sent: {told}") from None
    run_async(_send(read_settings(), message, key, wait, json, dry_run, yes))


async def _send(
    settings: Settings, message: MessageIn, key: str | None, wait: bool, json: bool, dry_run: bool, yes: bool
) -> None:
    async with opened(settings) as (_, pool):
        provider = (await sending.planned(pool, settings, message, utc_now())).provider
        if dry_run:
            say(f"would be sent by {provider}")
            return
        confirm(f"send it by {provider}?", "send a message to a person", yes=yes)
        queued = await sending.send(pool, settings, message, purpose="cli", key=key, now=utc_now())
        document = await _last_state(pool, queued.id) if wait else await sending.show(pool, queued.id)
    if json:
        show_json(document)
    else:
        why = f": {document['error']}" if document["error"] else ""
        say(f"the message {queued.id} is {document['status']}{why}")
    if document["status"] in ("failed", "skipped", "uncertain"):
        raise typer.Exit(FAILED)


async def _last_state(pool: Pool, id: UUID) -> dict[str, Any]:
    """The message when it is queued no more, or after WAIT_S."""
    give_up = time.monotonic() + WAIT_S
    while True:
        document = await sending.show(pool, id)
        if document["status"] in _LAST or time.monotonic() > give_up:
            return document
        await asyncio.sleep(LOOK_S)
