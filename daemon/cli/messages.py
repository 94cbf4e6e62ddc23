"""`ferryman messages`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
import typer
from pydantic import ValidationError

from daemon.bus.worker import utc_now
from daemon.cli.arguments import parse_words
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import DryRun, Json, Text, When, opened, shown_json, shown_time
from daemon.operator import messages, sending
from daemon.operator.keys import masked_key
from daemon.operator.messages import waits_for
from daemon.operator.uncertain import NOT_LOOKED
from daemon.settings.model import Settings
from schemas.api.queries import MOST_LISTED, MessageQuery
from schemas.api.wrong import told
from schemas.errors import UsageError

app = typer.Typer(help="Messages to people and from them: how each stands, and why.", no_args_is_help=True)

Message = Annotated[str, typer.Argument(metavar="MESSAGE", help="Its id, or the beginning of it.", parser=parse_words)]

_TIMES: Final = ("not_before", "created_at", "claimed_at", "sent_at", "delivered_at", "read_at", "failed_at")
_FACTS: Final = ("id", "direction", "status", "error", "error_code", "provider", "account", "phone", "kind", "purpose")
_MORE: Final = ("provider_message_id", "attempts")
_COLUMNS: Final = ("made (UTC)", "message", "provider", "phone", "kind", "status", "why")


@app.command("list")
def list_(
    to: Annotated[str | None, Text("--to", help="Of one phone, in any notation with its country code.")] = None,
    status: Annotated[str | None, Text("--status", help="queued, sent, failed, skipped, uncertain and so on.")] = None,
    provider: Annotated[str | None, Text("--provider", help="cgb, chatwoot, meta, twilio or whapi.")] = None,
    direction: Annotated[str | None, Text("--direction", help="out, or in: what people have written.")] = None,
    purpose: Annotated[str | None, Text("--purpose", help="Who asked: cli, api, rule:NAME, campaign:ID.")] = None,
    since: Annotated[datetime | None, When("--since", help="Made since then.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="How many at most.")] = 20,
    json: Json = False,
) -> None:
    """The newest messages first, phones masked, with the reason of one that did not go out."""
    given = {"to": to, "status": status, "provider": provider, "direction": direction, "purpose": purpose}
    try:
        which = MessageQuery.model_validate({**given, "since": since, "limit": limit})
    except ValidationError as exc:
        raise UsageError(told(exc, {name: f"--{name}" for name in given})) from None
    run_async(_list(read_settings(), which, json))


@app.command()
def show(message: Message, json: Json = False) -> None:
    """One message: what it says, how it stands, each status that was told of it, and why it waits."""
    run_async(_show(read_settings(), message, json))


@app.command()
def cancel(message: Message, dry_run: DryRun = False) -> None:
    """Take back a message that is still queued."""
    run_async(_cancel(read_settings(), message, dry_run))


async def _list(settings: Settings, which: MessageQuery, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = [one | {"phone": masked_key(one["phone"] or "")} for one in await sending.listed(pool, which)]
    if json:
        show_json(found)
        return
    rows = [
        [
            *(shown_time(one["created_at"]), one["id"], one["provider"], one["phone"], one["kind"], one["status"]),
            one["error"] or _ahead(one),
        ]
        for one in found
    ]
    if rows:
        show_table(_COLUMNS, rows, fit=False)
    else:
        say("there is no such message")


def _ahead(one: Mapping[str, Any]) -> str:
    waits = one["status"] == "queued" and one["not_before"] is not None
    return f"not before {shown_time(one['not_before'])}" if waits else ""


async def _show(settings: Settings, wanted: str, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await sending.show(pool, await messages.id_meant(pool, wanted))
        waits = await waits_for(pool, found, utc_now())
    if json:
        show_json(found | {"waits": waits})
        return
    for name in (*_FACTS, *_MORE, *_TIMES):
        if found[name] is not None:
            value = found[name]
            say(f"{name:20} {shown_time(value) if isinstance(value, datetime) else value}")
    if waits is not None:
        say(f"{'waits':20} {waits}")
    for update in found["updates"]:
        why = " ".join(str(update[name]) for name in ("error_code", "error") if update[name])
        say(f"{'update':20} {shown_time(update['at'])}  {update['status']}{f'  {why}' if why else ''}")
    if found["status"] == "uncertain":
        say(f"{'evidence':20} {found['evidence']['text'] if found['evidence'] else NOT_LOOKED}")
        say(f"{'to do':20} find out whether the person has it: `ferryman uncertain settle {found['id'][:8]}`")
    say("")
    say(shown_json(orjson.dumps(found["content"])), lines=True)


async def _cancel(settings: Settings, wanted: str, dry_run: bool) -> None:
    async with opened(settings) as (_, pool):
        id = await messages.id_meant(pool, wanted)
        if not dry_run:
            await sending.cancel(pool, id)
            say(f"the message {id} is canceled")
            return
        status = (await sending.show(pool, id))["status"]
    if status != "queued":
        raise sending.NotCanceled(f"the message is {status}: only one that is queued can be canceled")
    say(f"the message {id} would be canceled")
