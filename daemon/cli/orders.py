"""`ferryman orders`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from adapters.postgres.operator.orders import STATUSES
from daemon.bus.worker import utc_now
from daemon.cli.arguments import parse_words, require_known
from daemon.cli.context import read_settings, run_async
from daemon.cli.named import HELP
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import DryRun, Json, Text, When, opened, operator, shown_time
from daemon.operator import corrections, orders
from daemon.settings.model import Settings

app = typer.Typer(help="Orders: where each stands, and why one has failed.", no_args_is_help=True)


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help=f"Only orders of this status: {', '.join(STATUSES)}.")] = None,
    since: Annotated[datetime | None, When("--since", help="Orders that were kept since then.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    json: Json = False,
) -> None:
    """The newest orders first, with the reason why one has failed or waits; then how many there are of each status."""
    require_known("--status", status, STATUSES)
    run_async(_list(read_settings(), status, since, limit, json))


@app.command()
def show(
    order: Annotated[str, typer.Argument(help=f"Its id, or its event. {HELP}", parser=parse_words, metavar="ORDER")],
    json: Json = False,
) -> None:
    """One order: where it stands, its buyer, its events, its automatic messages, what was reported about its
    applicants. `ferryman events show` has the data."""
    run_async(_show(read_settings(), order, json))


@app.command()
def correct(
    order: Annotated[str, typer.Argument(help=f"Its id, or its event. {HELP}", parser=parse_words, metavar="ORDER")],
    phone: Annotated[str | None, Text("--phone", help="The buyer's phone, with its country code.")] = None,
    email: Annotated[str | None, Text("--email", help="The buyer's e-mail address.")] = None,
    name: Annotated[str | None, Text("--name", help="The buyer's name.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Correct who the buyer is, and sync the order so. It counts until the order itself says something new there; the
    audit log keeps who has done it."""
    given = {"phone": phone, "email": email, "name": name}
    if not any(given.values()):
        raise typer.BadParameter("say what is right, with --phone, --email or --name")
    run_async(_correct(read_settings(), order, {n: value for n, value in given.items() if value is not None}, dry_run))


async def _correct(settings: Settings, wanted: str, given: dict[str, str], dry_run: bool) -> None:
    async with opened(settings) as (_, pool):
        order_id = (await orders.stored(pool, wanted)).standing.order_id
        done = await corrections.correct(pool, order_id, given, operator(), utc_now(), dry_run=dry_run)
    if not done.fields:
        say(f"the order {order_id} says so already: nothing to correct")
        return
    number = f", the phone is {done.phone}" if "phone" in done.fields else ""
    say(f"{'would correct' if dry_run else 'corrected'} {', '.join(done.fields)} of the order {order_id}{number}")
    if not dry_run:
        say(f"it is on its way as the event {done.event_id}: a running daemon delivers it within seconds")


async def _list(settings: Settings, status: str | None, since: datetime | None, limit: int, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await orders.list_orders(pool, status, since, limit)
        counts = {} if json else await orders.counts(pool)
    if json:
        show_json(found)
        return
    rows = []
    for one in found:
        times = [shown_time(one[name]) for name in ("kept_at", "attempted_at", "completed_at")]
        rows.append([times[0], one["order_id"], one["status"] or "", *times[1:], one["reason"] or ""])
    if rows:
        columns = ("kept (UTC)", "order", "status", "last try", "completed", "reason")
        show_table(columns, rows, fit=False)
    say(f"all orders: {', '.join(f'{count} {name}' for name, count in counts.items())}")


async def _show(settings: Settings, wanted: str, json: bool) -> None:
    async with opened(settings) as (_, pool):
        document = await orders.show(pool, wanted)
    if json:
        show_json(document)
        return
    for name, value in document.items():
        if name not in ("events", "messages", "issues", "dead_letters") and value is not None:
            say(f"{name:24} {shown_time(value) if isinstance(value, datetime) else value}")
    for event in document["events"]:
        states = "  ".join(f"{worker}: {state}" for worker, state in event["workers"].items())
        say(f"{'event':24} {event['id']}  {event['type']}  {states}")
    for message in document["messages"]:
        say(f"{'message':24} {_message(message)}")
    for report in document["issues"]:
        say(f"{'applicant issues':24} {report['applicant_id']}  {_standing(report)}  {_kinds(report['issues'])}")
    for letter in document["dead_letters"]:
        say(f"{'dead letter':24} {letter['number']}  {letter['worker']}  {letter['state']}")


def _message(one: Mapping[str, Any]) -> str:
    """A message of the order: its id, what it is, how it stands."""
    state = f"{one['status']}{' (withdrawn)' if one['withdrawn'] else ''}"
    sent = shown_time(one["sent_at"]) or (one["not_before"] and f"not before {shown_time(one['not_before'])}")
    parts = (str(one["id"]), one["rule"], one["kind"], one["subject"], one["provider"], state, sent, one["error"])
    return "  ".join(part for part in parts if part)


def _standing(report: Mapping[str, Any]) -> str:
    """Status, reason and event of a report about an applicant."""
    why = f" ({report['reason']})" if report["reason"] else ""
    return f"{report['status']}{why}  {shown_time(report['reported_at'])}  {report['event_id']}"


def _kinds(issues: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The categories and codes that a report names."""
    named = (f"{category}: {', '.join(map(_code, items))}" for category, items in issues.items() if items)
    return "; ".join(named) or "no issues"


def _code(item: Mapping[str, Any]) -> str:
    return str(item["value"] or item["label"])
