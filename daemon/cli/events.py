"""`ferryman events`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated

import typer

from adapters.postgres.operator.trail import EventFilter
from daemon.cli.arguments import parse_words, require_known
from daemon.cli.completing import workers
from daemon.cli.context import read_settings, run_async
from daemon.cli.emitters import EMITTERS
from daemon.cli.named import HELP
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tail import tail
from daemon.cli.tools import Json, Text, When, opened, shown_json, shown_time
from daemon.operator import trail
from daemon.operator.event_timeline import Step, document, steps_of
from daemon.operator.naming import NOT_KEPT, NoSuchEvent, the_event
from daemon.operator.standing import Standing, standing, with_orders
from daemon.operator.trail import OUTCOMES, EventTrail
from daemon.operator.unjournaled import caveat, unjournaled
from daemon.operator.why.answer import looking, why_all
from daemon.operator.why.sentence import Sentence
from daemon.settings.model import Settings
from daemon.telemetry.redaction import redact_text
from daemon.workers import WORKERS
from schemas.envelope import TYPES

app = typer.Typer(help="What was accepted, and what became of it.", no_args_is_help=True)


@app.command("list")
def list_(
    type: Annotated[str | None, typer.Option(help="Only events of this type.")] = None,
    source: Annotated[str | None, Text("--source", help="Only events of this source.")] = None,
    worker: Annotated[
        str | None, typer.Option(help="Only events that this worker handles.", autocompletion=workers)
    ] = None,
    outcome: Annotated[str | None, typer.Option(help=f"How a worker ended: {', '.join(OUTCOMES)}.")] = None,
    key: Annotated[str | None, Text("--key", help="Events of one person: a phone, an e-mail address.")] = None,
    event: Annotated[str | None, Text("--event", help=f"One event, and what handling it emitted. {HELP}")] = None,
    since: Annotated[datetime | None, When("--since", help="Events that arrived since then.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    json: Json = False,
) -> None:
    """The newest events first; keys are masked."""
    require_known("--type", type, list(TYPES))
    require_known("--source", source, EMITTERS)
    require_known("--worker", worker, [w.name for w in WORKERS])
    require_known("--outcome", outcome, OUTCOMES)
    wanted = EventFilter(type=type, source=source, worker=worker, outcome=outcome, key=key, since=since)
    run_async(_list(read_settings(), wanted, event, limit, json))


@app.command()
def show(
    event: Annotated[str, typer.Argument(help=HELP, parser=parse_words, metavar="EVENT")],
    json: Json = False,
) -> None:
    """One event's way through every worker, where its order stands, what it waits behind, and its data."""
    run_async(_show(read_settings(), event, json))


app.command("tail")(tail)


async def _list(settings: Settings, wanted: EventFilter, event: str | None, limit: int, json: bool) -> None:
    async with opened(settings) as (_, pool):
        if event is not None:
            wanted = replace(wanted, event=(await the_event(pool, event)).id)
        listed = await with_orders(pool, await trail.list_events(pool, WORKERS, wanted, limit))
    if json:
        show_json(listed)
        return
    if not listed:
        say("no events")
        return
    rows = []
    for one in listed:
        states = "  ".join(f"{worker}: {state}" for worker, state in one["workers"].items())
        texts = [one[name] or "" for name in ("id", "order_id", "type", "source", "key", "place")]
        rows.append([shown_time(one["time"]), *texts, states])
    columns = ("time (UTC)", "event", "order", "type", "source", "key", "where", "workers")
    show_table(columns, rows, fit=False)


async def _show(settings: Settings, wanted: str, json: bool) -> None:
    async with opened(settings) as (addresses, pool):
        try:
            found = await trail.trail_of(pool, WORKERS, await the_event(pool, wanted))
            if found is None:  # deleted since it was found
                raise NoSuchEvent(NOT_KEPT)
        except NoSuchEvent as exc:
            unseen = await unjournaled(pool, addresses.redis_url, settings.ferryman_partitions)
            raise NoSuchEvent(f"{exc}{caveat(unseen)}") from None
        stands, steps = await standing(pool, WORKERS, found), await steps_of(pool, found)
        async with looking(pool, addresses.redis_url, settings.ferryman_partitions) as here:
            why = await why_all(here, found, WORKERS)
    if json:
        show_json(document(found, steps, why) | stands.document())
    else:
        _print_trail(found, stands, steps, why)


def _print_trail(found: EventTrail, stands: Standing, steps: Sequence[Step], why: Mapping[str, Sentence]) -> None:
    event = found.event
    for name, value in (("event", event.id), ("type", event.type), ("source", event.source), ("key", event.subject)):
        say(f"{name:8} {value}")
    if event.causationid:
        say(f"cause    {event.causationid}")
    if stands.order_id is not None:
        say(f"order    {stands.order_id}, {_order(stands)}")
    say("")
    for step in steps:
        say(f"{shown_time(step.at)}  {step.text}")
    for worker in [worker for worker in found.open if worker in why]:
        told = why[worker]
        behind = f"; behind event {stands.behind[worker]}" if told.rule != "behind" and worker in stands.behind else ""
        say(f"{'':19}  {worker}: open, {told.text}{behind}")
    if found.conflicts:
        say(f"{'':19}  {found.conflicts} other bodies came under this id: the first one counts")
    say("")
    say(shown_json(event.data), lines=True)


def _order(stands: Standing) -> str:
    """The order's status in words, with the reason of one that has failed."""
    if (order := stands.order) is None:
        return "which has no row in `orders`"
    return f"{order.status or 'of no status'}" + (f" ({redact_text(order.reason)})" if order.reason else "")
