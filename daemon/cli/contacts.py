"""`ferryman contacts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
import typer

from daemon.cli.arguments import parse_words
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import DryRun, Json, When, Yes, confirm, opened, operator, shown_time
from daemon.operator import merging, people
from daemon.operator.naming import LEAST
from daemon.operator.people import NoSuchContact
from daemon.settings.model import Settings

app = typer.Typer(help="People: who each is, and contacts that are one person's.", no_args_is_help=True)

HELP: Final = (
    "A phone in any notation, an e-mail address, an id that a system has for the person (also as `chatwoot:1:7`),"
    f" an order's id, a contact's id or its beginning ({LEAST} characters or more), or beginnings of words of the name."
)
Who: Final = typer.Argument(help=HELP, parser=parse_words, metavar="CONTACT")

_LISTS: Final = ("identities", "orders", "told", "records", "open", "merges", "apart_from")


@app.command()
def find(
    text: Annotated[str, typer.Argument(help=HELP, parser=parse_words, metavar="TEXT")],
    limit: Annotated[int, typer.Option(min=1, max=people.MOST, help="How many at most.")] = 20,
    json: Json = False,
) -> None:
    """The people whom a text may mean, those with the newest orders first."""
    run_async(_find(read_settings(), text, limit, json))


@app.command()
def show(contact: Annotated[str, Who], json: Json = False) -> None:
    """One person: identities, orders and where each stands, what each system knows, what CGB has told, the records
    about them, what waits, past merges."""
    run_async(_show(read_settings(), contact, json))


@app.command()
def conflicts(
    since: Annotated[datetime | None, When("--since", help="What CGB has told since then.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    json: Json = False,
) -> None:
    """The fields that CGB has told of and whose word was not taken, the newest first. `show` has the values."""
    run_async(_conflicts(read_settings(), since, limit, json))


@app.command()
def merge(one: Annotated[str, Who], other: Annotated[str, Who], dry_run: DryRun = False, yes: Yes = False) -> None:
    """Make two contacts one: the older one stays. `unmerge` undoes it."""
    run_async(_merge(read_settings(), one, other, dry_run, yes))


@app.command()
def unmerge(
    contact: Annotated[
        str, typer.Argument(help="The id of the contact that was merged.", parser=parse_words, metavar="ID")
    ],
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Undo a merge. What came after it stays with the contact that stayed."""
    run_async(_unmerge(read_settings(), contact, dry_run, yes))


async def _find(settings: Settings, text: str, limit: int, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await people.find(pool, text, limit)
    if json:
        show_json(found)
    if not found:
        raise NoSuchContact(f"no contact is found by this: {people.THERE_ONCE}")
    if json:
        return
    rows = []
    for one in found:
        phones, newest = " ".join(one["phones"]), one["newest_order_id"] or ""
        rows.append([one["id"], one["name"] or "", phones, newest, shown_time(one["newest_order_at"]), one["found_by"]])
    show_table(("contact", "name", "phones", "newest order", "of (UTC)", "found by"), rows, fit=False)


async def _show(settings: Settings, text: str, json: bool) -> None:
    async with opened(settings) as (_, pool):
        document = await people.show(pool, text)
    if json:
        show_json(document)
        return
    if document["merged_id"]:
        say(f"{document['merged_id']} was merged into this contact")
    for name, value in document.items():
        if name not in _LISTS and value not in (None, []):
            say(_row(name, _shown(value)))
    _show_lists(document)


async def _conflicts(settings: Settings, since: datetime | None, limit: int, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await people.conflicts(pool, since, limit)
    if json:
        show_json(found)
        return
    if not found:
        say("no conflict: what CGB has told was taken, or was known already")
        return
    rows = [[one["contact_id"] or "", one["field"], shown_time(one["at"]), one["owner"]] for one in found]
    show_table(("contact", "field", "told (UTC)", "owner"), rows, fit=False)
    say("both values: `ferryman contacts show CONTACT`")


def _show_lists(document: Mapping[str, Any]) -> None:
    """The identities, orders, what CGB has told, records, open events and merges of a person."""
    for one in document["identities"]:
        at_cgb = one["cgb_contact_id"] and (
            f"  CGB has {one['cgb_contact_id']}{'' if one['cgb_known'] else ', and is looked at by the next sync'}"
        )
        say(_row("identity", f"{one['kind']}:{one['value']}  since {_shown(one['since'])}{at_cgb or ''}"))
    for one in document["orders"]:
        at = shown_time(one["completed_at"] or one["kept_at"])
        say(_row("order", "  ".join([one["order_id"], one["status"] or "", at, one["reason"] or ""]).rstrip()))
    for one in document["told"]:
        say(_row("told", _told(one)))
    for one in document["records"]:
        owner = "" if one["owner_id"] is None else f"  owner {one['owner_id']}"
        at = shown_time(one["changed_at"])
        say(_row("record", f"{one['model']}  {one['id']}  version {one['version']}  {at}{owner}"))
    for one in document["open"]:
        why = "; ".join(f"{worker}: {reason}" for worker, reason in one["why"].items())
        say(_row("open", f"{one['id']}  {one['type']}  {why}"))
    for one in document["merges"]:
        why = "" if one["why"] is None else f" ({one['why']})"
        undone = one["action"] == "contact.unmerged"
        says = f"{one['merged']} {'taken out of' if undone else 'went into'} {one['stays']}, by {one['actor']}{why}"
        say(_row("unmerge" if undone else "merge", f"{_shown(one['at'])}  {says}"))
    for other in document["apart_from"]:
        say(_row("apart from", other))


def _told(one: Mapping[str, Any]) -> str:
    """A field that CGB has told of; the values last and in quotation marks, as anything may be in them."""
    came = "taken" if one["taken"] else "conflict"
    ours = "nothing" if one["ours"] is None else _quoted(one["ours"])
    known = f"{one['field']}  {came}  owner {one['owner']}  {shown_time(one['at'])}  {one['line']}"
    return f"{known}  CGB {_quoted(one['value'])}  ours {ours}"


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


def _row(name: str, text: str) -> str:
    return f"{name:24} {text}"


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(value)
    return shown_time(value) if isinstance(value, datetime) else str(value)


async def _merge(settings: Settings, one: str, other: str, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (_, pool):
        plan = await merging.merge(pool, one, other, operator(), dry_run=True)
        if _agreed(plan.merge_lines(), "merge them?", "merge two contacts", dry_run=dry_run, yes=yes):
            await merging.merge(pool, str(plan.stays.id), str(plan.other.id), operator(), dry_run=False)
            say(f"merged; `ferryman contacts unmerge {plan.other.id}` undoes it")


async def _unmerge(settings: Settings, text: str, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (_, pool):
        plan = await merging.unmerge(pool, text, operator(), dry_run=True)
        if _agreed(plan.unmerge_lines(), "take them apart?", "undo a merge", dry_run=dry_run, yes=yes):
            await merging.unmerge(pool, str(plan.other.id), operator(), dry_run=False)
            say("undone")


def _agreed(plan: Sequence[str], question: str, what: str, *, dry_run: bool, yes: bool) -> bool:
    """Show the plan; whether it is to be carried out."""
    for line in plan:
        say(line)
    if not dry_run:
        confirm(question, what, yes=yes)
    return not dry_run
