"""`ferryman send automatic`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from daemon.bus.worker import utc_now
from daemon.cli.arguments import parse_words
from daemon.cli.context import read_settings, run_async
from daemon.cli.named import HELP
from daemon.cli.screen import say, show_json
from daemon.cli.tools import DryRun, Json, Yes, confirm, opened, operator, shown_time
from daemon.operator.automatic import ask, plan
from daemon.settings.model import Settings


def automatic(
    order: Annotated[str, typer.Argument(help=f"Its id, or its event. {HELP}", parser=parse_words, metavar="ORDER")],
    json: Json = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """The automatic messages of a stored order, by messages.toml: which rules fit, what they send, and why others send
    nothing. What was told before is not told again."""
    run_async(_automatic(read_settings(), order, json, dry_run, yes))


async def _automatic(settings: Settings, order: str, json: bool, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (_, pool):
        planned = await plan(pool, settings, order, utc_now())
        if not json:
            _show(planned.document())
        if (left := planned.left) and not dry_run:
            confirm(f"send {len(left)} of them?", f"send {len(left)} messages to a person", yes=yes)
            planned = replace(planned, standing=await ask(pool, planned, operator()))
            if not json:
                say(f"asked for {', '.join(str(one.id) for one in left)}")
    if json:
        show_json(planned.document())


def _show(document: Mapping[str, Any]) -> None:
    if document["gate"] is not None:
        say(f"nothing is sent for the order {document['order_id']}: {document['gate']}")
    for rule in document["rules"]:
        about = f"{rule['rule']}{' of ' if rule['subject'] else ''}{rule['subject']}"
        if (message := rule["message"]) is None:
            detail = f" ({rule['detail']})" if rule["detail"] else ""
            say(f"{about}: nothing, {rule['reason']}{detail}")
        else:
            _show_message(about, message)
    if document["gate"] is None and not document["rules"]:
        say("no rule of messages.toml goes by orders")


def _show_message(about: str, message: Mapping[str, Any]) -> None:
    at = "" if message["not_before"] is None else f" at {shown_time(message['not_before'])} UTC"
    stands = f", is {message['status']}" if message["status"] else ""
    say(f"{about}: to {message['to']} by {message['provider']}{at}{stands}")
    if template := message.get("template"):
        say(f"  template {template['name']}, {template['language']}")
        for name, value in template["variables"].items():
            say(f"  {name} = {value}")
    elif media := message.get("media"):
        say(f"  {media['type']} {media['url']}: {media['caption']}")
    else:
        say(f"  {message['text']['body']}")
