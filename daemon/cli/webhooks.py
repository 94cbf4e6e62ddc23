"""`ferryman webhooks`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, cast

import typer

from daemon.cli.arguments import MOST_NUMBER, parse_words, require_known
from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED
from daemon.cli.screen import progress, say, show_json, show_table
from daemon.cli.tools import DryRun, Json, Text, When, Yes, confirm, opened, operator, shown_time
from daemon.operator import deliveries_again, subscribing
from daemon.operator.faults import Unusable
from daemon.operator.subscribing import Wanted
from daemon.settings.model import Settings
from schemas.errors import UsageError
from schemas.subscriptions import OFFERED, PATTERNS

app = typer.Typer(help="Outgoing webhooks: other systems that are told of events.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", parser=parse_words, help="Of the subscriber, as list shows it.")]
Types = Annotated[list[str], typer.Option("--type", help=f"What it is told of: {', '.join(PATTERNS)}; repeat it.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", parser=parse_words, help="What it is called here.")],
    url: Annotated[str, typer.Argument(metavar="URL", parser=parse_words, help="Where events are posted, by https.")],
    type: Types,
    full: Annotated[bool, typer.Option("--full", help="Whole events, with phones and texts; else ids alone.")] = False,
    json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """Add a subscriber, and print its secret: it is shown this once."""
    settings = read_settings()
    try:
        one = subscribing.wanted(settings, name, url, type, full=full)
    except Unusable as exc:
        raise UsageError(str(exc)) from None
    run_async(_add(settings, one, json, dry_run))


@app.command("list")
def list_(json: Json = False) -> None:
    """The subscribers: what they want, how they fare, what waits for them."""
    run_async(_list(read_settings(), json))


@app.command()
def show(
    name: Name,
    state: Annotated[
        str, Text("--state", help="Deliveries of this state: waiting, delivered, failed, skipped.")
    ] = "failed",
    json: Json = False,
) -> None:
    """One subscriber, why its deliveries have failed, and its newest deliveries of a state."""
    require_known("--state", state, ("waiting", "delivered", "failed", "skipped"))
    run_async(_show(read_settings(), name, state, json))


@app.command("test")
def try_out(name: Name, json: Json = False) -> None:
    """Send it a signed `ferryman.test`, and show its answer. Exit code 1 where it was not taken."""
    run_async(_try_out(read_settings(), name, json))


@app.command()
def retry(
    name: Name,
    delivery: Annotated[
        list[int] | None, typer.Option("--delivery", min=1, max=MOST_NUMBER, help="The number of a failed delivery.")
    ] = None,
    error: Annotated[str | None, Text("--error", help="Those that have failed with this code, as show has it.")] = None,
    all: Annotated[bool, typer.Option("--all", help="All that have failed.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Send failed deliveries again, each with all its tries; and try at once what waits for a subscriber that fails."""
    if bool(delivery) + (error is not None) + all != 1:
        raise typer.BadParameter("name deliveries with --delivery, or a reason with --error, or say --all")
    run_async(_retry(read_settings(), name, tuple(delivery) if delivery else None, error, dry_run, yes))


@app.command()
def replay(
    name: Name,
    since: Annotated[datetime | None, When("--from", help="Events that arrived since then.")] = None,
    until: Annotated[datetime | None, When("--to", help="Events that arrived before then.")] = None,
    type: Annotated[list[str] | None, typer.Option("--type", help="Event types; default: all that it wants.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Tell it once more of the events of the journal of a time. Each has the id that it had."""
    for one in type or ():
        require_known("--type", one, OFFERED)
    run_async(_replay(read_settings(), name, since, until, tuple(type) if type else None, dry_run, yes))


@app.command()
def rotate(name: Name, json: Json = False, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Give it a new secret, and print it. The former one signs beside it for 24 hours."""
    run_async(_rotate(read_settings(), name, json, dry_run, yes))


@app.command()
def enable(
    name: Name,
    backlog: Annotated[str | None, Text("--backlog", help="What has waited: send, or skip.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Send to a disabled subscriber again."""
    require_known("--backlog", backlog, ("send", "skip"))
    run_async(_enable(read_settings(), name, backlog, dry_run))


@app.command()
def disable(
    name: Name,
    reason: Annotated[str | None, Text("--reason", help="Why, for the record.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Send it nothing more. Its events wait, for FERRYMAN_RETENTION_WEBHOOKS_DAYS at most."""
    run_async(_disable(read_settings(), name, reason or "", dry_run))


@app.command()
def remove(name: Name, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Delete a subscriber, with what waits for it and what it was told."""
    run_async(_remove(read_settings(), name, dry_run, yes))


async def _add(settings: Settings, one: Wanted, json: bool, dry_run: bool) -> None:
    async with opened(settings) as (_, pool):
        if dry_run:
            say(f"{one.name} would be told of {', '.join(one.types)}, {'whole' if one.full else 'by ids alone'}")
            return
        made = await subscribing.add(pool, settings, one, operator())
    _print_secret(made, json)


def _print_secret(made: dict[str, Any], json: bool) -> None:
    if json:
        show_json(made)
        return
    say(made["secret"])
    say(f"the secret of {made['name']}: give it to the receiver, it is shown once", err=True)


async def _list(settings: Settings, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await subscribing.listed(pool, settings)
    if json:
        show_json(found)
        return
    if found:
        columns = ("name", "state", "types", "body", "waiting", "oldest (UTC)", "failed", "failing since", "url")
        show_table(columns, [_row(one) for one in found])
    for one in found:
        _print_lacks(one)
    say(
        {0: "no subscriber yet: `ferryman webhooks add`", 1: "1 subscriber"}.get(
            len(found), f"{len(found)} subscribers"
        )
    )


def _row(one: dict[str, Any]) -> list[str]:
    return [
        one["name"],
        one["state"],
        ", ".join(one["types"]),
        "full" if one["full"] else "thin",
        str(one["waiting"]),
        shown_time(one["oldest_waiting_at"]),
        str(one["failed"]),
        shown_time(one["failing_since"]),
        one["url"],
    ]


def _print_lacks(one: dict[str, Any]) -> None:
    name = one["name"]
    if one["error"]:
        say(f"{name}: {one['error']}")
    if one["state"] == "disabled":
        at = shown_time(one["disabled_at"])
        say(f"{name} was disabled at {at} UTC, {one['disabled_why']}: `ferryman webhooks enable {name}`")


async def _show(settings: Settings, name: str, state: str, json: bool) -> None:
    async with opened(settings) as (_, pool):
        one = await subscribing.shown(pool, settings, name)
        newest = await deliveries_again.deliveries_of(pool, name, cast(Any, state))
    if json:
        show_json({**one, "deliveries": newest})
        return
    for field, value in one.items():
        if field not in ("failures_by_error", "error") and value not in (None, []):
            say(f"{field:18} {_text(value)}")
    _print_lacks(one)
    for group in one["failures_by_error"]:
        last = shown_time(group["last"])
        say(f"{group['deliveries']} have failed with {group['error'] or 'no reason'}, the last at {last} UTC")
    if newest:
        columns = ("number", "event", "type", "tries", "last (UTC)", "next (UTC)", "error", "ms", "answer")
        show_table(columns, [_delivery(each) for each in newest])


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{shown_time(value)} UTC"
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _delivery(one: dict[str, Any]) -> list[str]:
    return [
        str(one["id"]),
        one["event_id"],
        one["type"],
        str(one["attempts"]),
        shown_time(one["last_at"]),
        shown_time(one["next_at"]),
        one["error"] or "",
        "" if one["ms"] is None else str(one["ms"]),
        (one["answer"] or "")[:60],
    ]


async def _try_out(settings: Settings, name: str, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await subscribing.try_out(pool, settings, name)
    if json:
        show_json(found)
    elif found["delivered"]:
        say(f"{name} has taken the test {found['event_id']}: HTTP {found['status']} in {found['ms']} ms")
    else:
        say(f"{name} has not taken the test: {found['error']} after {found['ms']} ms")
        if found["answer"]:
            say(f"  {found['answer']}")
    if not found["delivered"]:
        raise typer.Exit(FAILED)


async def _retry(
    settings: Settings, name: str, ids: tuple[int, ...] | None, error: str | None, dry_run: bool, yes: bool
) -> None:
    async with opened(settings) as (_, pool):
        plan = await deliveries_again.plan_retry(pool, name, ids, error)
        say(f"{plan.total} failed deliveries to send to {name} again")
        if dry_run:
            return
        would = f"send {plan.total} deliveries again"
        confirm(f"{would}?", would, yes=yes, ask=not ids)
        with progress("waiting again") as report:
            done = await deliveries_again.retry(pool, plan, operator(), report)
    _say_done(done, "wait again: a running daemon sends them")


async def _replay(
    settings: Settings,
    name: str,
    since: datetime | None,
    until: datetime | None,
    types: tuple[str, ...] | None,
    dry_run: bool,
    yes: bool,
) -> None:
    async with opened(settings) as (_, pool):
        plan = await deliveries_again.plan_replay(pool, name, since, until, types)
        say(f"{plan.total} events of the journal for {name}")
        if dry_run or not plan.total:
            return
        would = f"tell {name} of {plan.total} events again"
        confirm(f"{would}?", would, yes=yes)
        with progress("told again") as report:
            done = await deliveries_again.perform_replay(pool, plan, operator(), report)
    _say_done(done, f"wait for {name}: a running daemon sends them")


def _say_done(done: dict[str, Any], what: str) -> None:
    say(f"{done['done']} {what}")
    for skipped in done["skipped"]:
        say(f"  {skipped['count']} left out: {skipped['reason']}")


async def _rotate(settings: Settings, name: str, json: bool, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (_, pool):
        if dry_run:
            one = await subscribing.shown(pool, settings, name)
            say(f"{one['name']} would get a new secret")
            return
        await subscribing.shown(pool, settings, name)
        confirm(f"give {name} a new secret?", f"give {name} a new secret", yes=yes)
        made = await subscribing.rotate(pool, settings, name, operator())
    _print_secret(made, json)


async def _enable(settings: Settings, name: str, backlog: str | None, dry_run: bool) -> None:
    async with opened(settings) as (_, pool):
        one = await subscribing.shown(pool, settings, name)
        if one["state"] == "active":
            say(f"{name} is enabled")
            return
        say(f"{one['waiting']} deliveries have waited for {name}")
        if dry_run:
            return
        if one["waiting"] and backlog is None:
            raise UsageError(f"say what becomes of the {one['waiting']}: --backlog send, or --backlog skip")
        await subscribing.enable(pool, settings, name, operator(), cast(Literal["send", "skip"] | None, backlog))
    say(f"{name} is enabled")


async def _disable(settings: Settings, name: str, reason: str, dry_run: bool) -> None:
    async with opened(settings) as (_, pool):
        one = await subscribing.shown(pool, settings, name)
        if dry_run:
            say(f"{name} would be disabled" if one["state"] == "active" else f"{name} is disabled")
            return
        await subscribing.disable(pool, settings, name, operator(), reason)
    say(f"{name} is disabled: its events wait")


async def _remove(settings: Settings, name: str, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (_, pool):
        one = await subscribing.shown(pool, settings, name)
        what = f"{name}, for which {one['waiting']} deliveries wait"
        if dry_run:
            say(f"{what}, would be removed")
            return
        confirm(f"remove {what}?", f"remove {what}", yes=yes)
        count = await subscribing.remove(pool, name, operator())
    say(f"{name} is removed, with {count} deliveries")
