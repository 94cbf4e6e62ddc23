"""`ferryman send`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from adapters.postgres.messages import Request
from daemon.bus.worker import utc_now
from daemon.cli.automatic import automatic
from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED
from daemon.cli.marking import read
from daemon.cli.screen import say, show_json
from daemon.cli.sent import NAMES, as_known, last_state, say_standing
from daemon.cli.tools import Ahead, DryRun, Json, Text, Yes, confirm, opened
from daemon.operator import messages, sending
from daemon.settings.model import Settings
from schemas.api.messages import MessageIn
from schemas.api.wrong import told
from schemas.credentials import DEFAULT
from schemas.errors import UsageError

app = typer.Typer(help="Send a message to a person.", no_args_is_help=True)

To = Annotated[str, typer.Argument(metavar="PHONE", help="With + and the country code.")]
Provider = Annotated[str | None, Text("--provider", help="cgb, chatwoot, meta, twilio, whapi; else the default one.")]
Account = Annotated[str, Text("--account", help="Of the provider: which credentials.")]
Fallback = Annotated[
    str | None, Text("--fallback", help="As twilio,whapi: by which it goes where the provider is down.")
]
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
    fallback: Fallback = None,
    key: Key = None,
    at: At = None,
    split: Annotated[bool, typer.Option("--split", help="As several messages, where it is too long for one.")] = False,
    wait: Wait = False,
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Free text: only to a person who has written within 24 hours."""
    given = {"to": to, "text": body, "provider": provider, "account": account, "fallback": _named(fallback)}
    _run(given | {"not_before": at, "split": split}, key, wait, json, dry_run, yes)


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
    """A file at an address."""
    content = {"url": url, "type": type, "caption": caption, "filename": filename}
    given = {"to": to, "media": content, "provider": provider, "account": account, "fallback": _named(fallback)}
    _run(given | {"not_before": at}, key, wait, json, dry_run, yes)


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
    fallback: Fallback = None,
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
    given = {"to": to, "choices": content, "provider": provider, "account": account, "fallback": _named(fallback)}
    _run(given | {"not_before": at}, key, wait, json, dry_run, yes)


@app.command()
def reaction(
    to: To,
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="Its id: Ferryman's, or the provider's.")],
    emoji: Annotated[str, typer.Argument(metavar="EMOJI", help='"" takes the former one back.')],
    provider: Annotated[str | None, Text("--provider", help="meta or whapi; else that of the message.")] = None,
    account: Annotated[str | None, Text("--account", help="Of the provider; else that of the message.")] = None,
    key: Key = None,
    at: At = None,
    wait: Wait = False,
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """An emoji on one message of the person's chat, which they wrote or we have sent."""
    content = {"message_id": message, "emoji": emoji}
    given = {"to": to, "reaction": content, "provider": provider, "not_before": at}
    _run(given if account is None else given | {"account": account}, key, wait, json, dry_run, yes)


app.command()(read)
app.command()(automatic)


def _choice(given: str) -> dict[str, str]:
    title, _, value = given.partition("=")
    return {"title": title, "value": value or title}


def _named(given: str | None) -> list[str] | None:
    return None if given is None else [name for part in given.split(",") if (name := part.strip())]


def _variables(given: list[str]) -> dict[str, str]:
    """Raises: UsageError."""
    pairs = [one.partition("=") for one in given]
    if not all(name and equals for name, equals, _ in pairs):
        raise UsageError("write each --var as NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _planned(requests: Sequence[Request], why_not: str | None) -> dict[str, Any]:
    """What would be sent. *why_not*: why it would be skipped as things are now."""
    first = requests[0]
    told = {"provider": first.provider, "account": first.account, "phone": first.phone, "not_before": first.not_before}
    return {"dry_run": True, **told, "messages": len(requests), "skipped": why_not}


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
        requests = await sending.checked(pool, settings, message, utc_now())
        how = requests[0].provider if len(requests) == 1 else f"{requests[0].provider}, as {len(requests)} messages,"
        how += f" to {requests[0].phone}"
        if dry_run:
            why_not = await messages.foreseen(pool, requests[0], utc_now())
            if json:
                show_json(_planned(requests, why_not))
            else:
                say(f"would be sent by {how}{as_known(why_not)}")
            return
        confirm(f"send it by {how}?", "send a message to a person", yes=yes)
        queued = await sending.send(pool, settings, message, purpose="cli", key=key, now=utc_now())
        show = last_state if wait else sending.show
        documents = [await show(pool, id) for id in queued.ids]
        waits = [
            await messages.waits_for(pool, one, utc_now()) if wait or one["not_before"] else None for one in documents
        ]
    if json:
        show_json(documents if message.split else documents[0])
    else:
        for document, waiting in zip(documents, waits, strict=True):
            say_standing(document, waiting)
    if any(document["status"] in ("failed", "skipped", "uncertain") for document in documents):
        raise typer.Exit(FAILED)
