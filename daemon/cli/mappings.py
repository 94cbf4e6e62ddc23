"""`ferryman mappings`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from daemon.cli.arguments import MOST_NUMBER, parse_words, require_known
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import DryRun, Json, Text, Yes, confirm, opened, operator
from daemon.operator import user_mappings
from daemon.operator.faults import NotThere, Unusable
from daemon.settings.model import Settings
from schemas.errors import UsageError

app = typer.Typer(help="Who people are in your own system: whose archive their messages are in.", no_args_is_help=True)


def _switch(text: str) -> str:
    """The parser of on and off. Raises: typer.BadParameter."""
    require_known("ON|OFF", text, ("on", "off"))
    return text


User = Annotated[str, typer.Argument(metavar="USER", parser=parse_words, help="Their id in your own system.")]
MOST = 200


@app.command()
def add(
    user: User,
    phone: Annotated[str | None, Text("--phone", help="Their phone, with + and its country code.")] = None,
    contact: Annotated[str | None, Text("--contact", help="Chatwoot's id of the contact; with --account.")] = None,
    account: Annotated[str | None, Text("--account", help="Chatwoot's id of the account.")] = None,
    verified: Annotated[bool, typer.Option("--verified", help="It is proven: it goes before others.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Say who a person is. What is archived of them already follows."""
    run_async(_add(read_settings(), user, phone, contact, account, verified, dry_run))


@app.command("list")
def list_(
    user: Annotated[str | None, Text("--user", help="Of this user alone.")] = None,
    json: Json = False,
) -> None:
    """Who people are."""
    run_async(_list(read_settings(), user, json))


@app.command()
def remove(
    id: Annotated[int, typer.Argument(metavar="ID", min=1, max=MOST_NUMBER, help="Of the mapping, as list shows it.")],
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Forget who a person is. What is archived stays the user's."""
    run_async(_remove(read_settings(), id, dry_run, yes))


@app.command()
def notify(
    user: User,
    switch: Annotated[str, typer.Argument(metavar="on|off", parser=_switch, help="Whether they are told.")],
    dry_run: DryRun = False,
) -> None:
    """Tell a user by WhatsApp when something is ready, or not."""
    run_async(_notify(read_settings(), user, switch == "on", dry_run))


async def _add(
    settings: Settings,
    user: str,
    phone: str | None,
    contact: str | None,
    account: str | None,
    verified: bool,
    dry_run: bool,
) -> None:
    new = _usable(lambda: user_mappings.given(user, phone, contact, account, verified))
    async with opened(settings) as (_, pool):
        if dry_run:
            say("the mapping would be added")
            return
        document, made = await user_mappings.add(pool, new, operator(), settings.gcs_bucket_prefix)
    count = document["reassigned"]
    follow = "" if not count else f"; {count} archived {'message follows' if count == 1 else 'messages follow'}"
    say(f"mapping {document['id']} is {'added' if made else 'changed'}{follow}")


async def _list(settings: Settings, user: str | None, json: bool) -> None:
    found: list[dict[str, Any]] = []
    async with opened(settings) as (_, pool):
        while page := await user_mappings.listed(pool, user, found[-1]["id"] if found else 0, MOST):
            found += page
    if json:
        show_json(found)
        return
    if found:
        columns = ("id", "user", "phone", "Chatwoot", "verified", "told when ready", "bucket")
        show_table(columns, [_row(one) for one in found], fit=False)
    say(f"{len(found)} mappings" if len(found) != 1 else "1 mapping")


def _row(one: dict[str, Any]) -> list[str]:
    contact = one["chatwoot_contact_id"]
    return [
        str(one["id"]),
        one["user_id"],
        one["whatsapp_number"] or "",
        "" if contact is None else f"{one['chatwoot_account_id']}:{contact}",
        "yes" if one["is_verified"] else "",
        "yes" if one["notify_on_ready"] else "",
        one["bucket_name"] or "",
    ]


async def _remove(settings: Settings, id: int, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (_, pool):
        await user_mappings.shown(pool, id)
        if dry_run:
            say(f"mapping {id} would be removed")
            return
        confirm(f"remove mapping {id}?", f"remove mapping {id}", yes=yes)
        await user_mappings.remove(pool, id, operator())
    say(f"mapping {id} is removed")


async def _notify(settings: Settings, user: str, on: bool, dry_run: bool) -> None:
    user = _usable(lambda: user_mappings.checked_user(user))
    told = "told" if on else "not told"
    async with opened(settings) as (_, pool):
        if dry_run:
            if not await user_mappings.listed(pool, user, most=1):
                raise NotThere("there is no mapping of this user: add one first")
            say(f"the user would be {told} when something is ready")
            return
        await user_mappings.set_notify(pool, user, on, operator(), settings.gcs_bucket_prefix)
    say(f"the user is {told} when something is ready")


def _usable(make: Any) -> Any:
    """What *make* returns. Raises: UsageError."""
    try:
        return make()
    except Unusable as exc:
        text = str(exc)
        for name, option in (("whatsapp_number", "--phone"), ("chatwoot_contact_id", "--contact"),
                             ("chatwoot_account_id", "--account"), ("user_id", "USER")):  # fmt: skip
            text = text.replace(name, option)
        raise UsageError(text) from None
