"""`ferryman campaign`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError

from adapters.postgres.pool import Pool
from daemon.bus.worker import utc_now
from daemon.cli.arguments import parse_words
from daemon.cli.campaign_views import LISTED, OPEN, people_of, plan_document, report_of, say_plan, say_status, table_of
from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED
from daemon.cli.screen import progress, say, show_json, show_table
from daemon.cli.tools import Ahead, DryRun, Json, NotRead, Text, When, Yes, confirm, opened, operator
from daemon.operator import campaign_standing, campaigns
from daemon.operator.campaigns import Verb
from daemon.settings.model import Settings
from schemas.api.campaigns import CampaignIn
from schemas.api.wrong import told
from schemas.errors import UsageError

app = typer.Typer(help="Send a template to many people.", no_args_is_help=True)

LOOK_S: Final = 1.0
MOST: Final = 50

NAMES: Final = {
    "name": "NAME",
    "orders.order_status": "--order-status",
    "orders.language": "--speaks",
    "orders.variables": "--var",
    "ends_at": "--ends",
    **{name: f"--{name}" for name in ("template", "language", "provider", "account", "rate", "category", "quiet")},
    **{f"orders.{name}": f"--{name}" for name in ("branch", "country", "since", "until")},
}
"""What the members of a campaign are called on the command line."""


Campaign = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Its name or its id.", parser=parse_words)]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until all messages are on their way, with a progress bar.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of its own.", parser=parse_words)],
    template: Annotated[str, Text("--template", help="The provider's name of it.")],
    language: Annotated[str | None, Text("--language", help="Of the template, as he or en_US.")] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Columns: phone, the template's variables, name, consent.")
    ] = None,
    branch: Annotated[str | None, Text("--branch", help="In place of a file: buyers of this branch.")] = None,
    order_status: Annotated[str | None, Text("--order-status", help="Whose order stands so.")] = None,
    country: Annotated[str | None, Text("--country", help="Whose order is about this country.")] = None,
    since: Annotated[datetime | None, When("--since", help="Who ordered since then.")] = None,
    until: Annotated[datetime | None, When("--until", help="Who ordered before then.")] = None,
    speaks: Annotated[str | None, Text("--speaks", help="Whose language is this one, as he.")] = None,
    var: Annotated[
        list[str] | None, typer.Option("--var", metavar="NAME=TEXT", help="Of buyers, as 1={client_name}.")
    ] = None,
    provider: Annotated[str | None, Text("--provider", help="cgb, chatwoot, meta, twilio or whapi.")] = None,
    account: Annotated[str, Text("--account", help="Of the provider.")] = "default",
    rate: Annotated[float | None, typer.Option(min=0.01, max=500, help="Messages in a second at most.")] = None,
    category: Annotated[str, Text("--category", help="utility or marketing.")] = "utility",
    consent: Annotated[str | None, Text("--consent", help="How that of all people was obtained.")] = None,
    quiet: Annotated[str | None, Text("--quiet", help="21:00-09:00 (marketing), or off (utility).")] = None,
    ends: Annotated[datetime | None, Ahead("--ends", help="Nobody is written to from then on.")] = None,
    json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Check a campaign whole, and store it as a draft: nothing is sent before `start`."""
    orders = {
        "branch": branch,
        "order_status": order_status,
        "country": country,
        "since": since,
        "until": until,
        "language": speaks,
    }
    asked = any(value is not None for value in orders.values())
    given = {
        "name": name,
        "template": template,
        "language": language,
        "provider": provider,
        "account": account,
        "rate": rate,
        "category": category,
        "consent": consent,
        "quiet": quiet,
        "ends_at": ends,
        "csv": None if csv is None else _text_of(csv),
        "orders": orders | {"variables": _variables(var or [])} if asked or var else None,
    }
    run_async(_create(read_settings(), _read(given), json, dry_run))


@app.command()
def start(campaign: Campaign, wait: Wait = False, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Send it: says to how many people, and asks."""
    run_async(_move(read_settings(), campaign, "start", wait, dry_run, yes))


@app.command()
def pause(campaign: Campaign, dry_run: DryRun = False) -> None:
    """Send nothing more for now; what is queued is taken back."""
    run_async(_move(read_settings(), campaign, "pause", False, dry_run, True))


@app.command()
def resume(campaign: Campaign, wait: Wait = False, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Let one go on that is paused, or that was stopped by refusals of its template."""
    run_async(_move(read_settings(), campaign, "resume", wait, dry_run, yes))


@app.command()
def stop(campaign: Campaign, dry_run: DryRun = False, yes: Yes = False) -> None:
    """End it for good: whoever has not had their turn gets nothing."""
    run_async(_move(read_settings(), campaign, "stop", False, dry_run, yes))


@app.command()
def status(campaign: Campaign, json: Json = False) -> None:
    """How far it has come: counts, rate, errors, what waits and why."""
    run_async(_status(read_settings(), campaign, json))


@app.command("list")
def list_(json: Json = False) -> None:
    """Campaigns, the newest first."""
    run_async(_list(read_settings(), json))


@app.command()
def report(
    campaign: Campaign,
    out: Annotated[Path | None, typer.Option("--out", help="A file to write; else standard output.")] = None,
    reveal: Annotated[bool, typer.Option("--reveal", help="Phones whole; the audit log keeps who asked.")] = False,
) -> None:
    """Every recipient as CSV, phones masked."""
    text = run_async(_report(read_settings(), campaign, reveal))
    if out is None:
        say(text.replace("\r\n", "\n").rstrip("\n"), lines=True)
        return
    try:
        out.write_text(text, encoding="utf-8", newline="")
    except (OSError, ValueError) as exc:  # ValueError: no file can have such a name
        why = getattr(exc, "strerror", None) or "no such name"
        raise UsageError(f"{out} cannot be written ({why}): name another file") from exc
    say(f"written to {out}")


def _read(given: Mapping[str, Any]) -> CampaignIn:
    """Raises: UsageError."""
    if given["csv"] is None and given["orders"] is None:
        raise UsageError("that is no campaign: name its people, by --csv FILE, or buyers by --branch and the like")
    if given["csv"] is not None and given["orders"] is not None:
        raise UsageError(
            "that is no campaign: take its people from --csv, or from stored orders (--branch, --var and the like),"
            " not from both"
        )
    try:
        return CampaignIn.model_validate(given)
    except ValidationError as exc:
        raise UsageError(f"that is no campaign: {told(exc, NAMES)}") from None


def _text_of(path: Path) -> str:
    """What a CSV file says, its lines where they are. Raises: NotRead; UsageError."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as exc:  # ValueError: no file can have such a name
        why = getattr(exc, "strerror", None) or "no such name"
        raise NotRead(f"{path} cannot be read ({why}): name a file that can be read") from exc
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content[: exc.start].count(b"\n") + 1
        raise UsageError(f"line {line} of {path} is not UTF-8: save the file as CSV UTF-8") from exc


def _variables(given: list[str]) -> dict[str, str]:
    """Raises: UsageError."""
    pairs = [one.partition("=") for one in given]
    if not all(name and equals for name, equals, _ in pairs):
        raise UsageError("write each --var as NAME=TEXT")
    return {name: text for name, _, text in pairs}


async def _create(settings: Settings, given: CampaignIn, json: bool, dry_run: bool) -> None:
    async with opened(settings) as (_, pool):
        made = await campaigns.plan(pool, settings, given, actor=operator(), key=None, now=utc_now())
        if not dry_run:
            await campaigns.store(pool, made)
            document = await campaign_standing.show(pool, str(made.campaign.id))
    if json:
        show_json(plan_document(made) if dry_run else document)
        return
    say_plan(made)
    if dry_run:
        say("it would be stored as a draft")
    else:
        say(f"the campaign {given.name} is a draft ({made.campaign.id}): `ferryman campaign start` sends it")


async def _move(settings: Settings, name: str, verb: Verb, wait: bool, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await campaign_standing.show(pool, name)
        to_come = sum(found["counts"][status] for status in OPEN[:2])
        question = _question(found, verb, to_come)
        if dry_run:
            say(f"it is {'a ' if found['status'] == 'draft' else ''}{found['status']}; this would {question}")
            return
        confirm(f"{question}?", question, yes=yes)
        moved = await campaigns.move(pool, settings, name, verb, operator())
        say(f"the campaign {moved['name']} is {moved['status']}")
        if wait:
            await _wait(pool, moved["id"])


def _question(found: Mapping[str, Any], verb: Verb, to_come: int) -> str:
    if verb == "stop":
        return f"stop {found['name']} for good, with {people_of(to_come)} still to come"
    if verb == "pause":
        return f"pause {found['name']}, with {people_of(to_come)} still to come"
    return f"send the template {found['template']} to {people_of(to_come)} by {found['provider']}"


async def _wait(pool: Pool, id: str) -> None:
    """Show how far it comes, until it goes on no more."""
    with progress("on their way") as tell:
        while True:
            found = await campaign_standing.show(pool, id)
            tell(found["recipients"] - sum(found["counts"][status] for status in OPEN), found["recipients"])
            if found["status"] != "running":
                break
            await asyncio.sleep(LOOK_S)
    say_status(found)
    if found["status"] != "done" or found["counts"]["failed"] or found["counts"]["uncertain"]:
        raise typer.Exit(FAILED)


async def _status(settings: Settings, name: str, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await campaign_standing.show(pool, name)
    if json:
        show_json(found)
    else:
        say_status(found)


async def _list(settings: Settings, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await campaign_standing.listed(pool, before=None, limit=MOST)
    if json:
        show_json(found)
        return
    if found:
        show_table(LISTED, table_of(found), fit=False)
    else:
        say("there is no campaign")


async def _report(settings: Settings, name: str, reveal: bool) -> str:
    async with opened(settings) as (_, pool):
        return await report_of(campaign_standing.report(pool, name, reveal=reveal, actor=operator()))
