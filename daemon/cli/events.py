"""`ferryman events`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Final

import typer

from adapters.postgres.operator.trail import EventFilter, FoundEvent, WorkerEnding
from adapters.registry import SOURCES
from daemon.cli.arguments import parse_words, require_known
from daemon.cli.context import read_settings, run_async
from daemon.cli.named import HELP
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import Json, Text, When, opened, shown_json, shown_time
from daemon.lifecycle import stop_on_signals
from daemon.messages.requests import CAMPAIGNS
from daemon.operator import trail
from daemon.operator.keys import masked_key
from daemon.operator.naming import NOT_KEPT, NoSuchEvent, the_event
from daemon.operator.standing import Standing, standing, with_orders
from daemon.operator.trail import OUTCOMES, EventTrail
from daemon.operator.unjournaled import caveat, unjournaled
from daemon.operator.why import read_circumstances, reasons
from daemon.settings.model import Settings
from daemon.telemetry.redaction import redact_text
from daemon.workers import WORKERS
from schemas.envelope import TYPES

EMITTERS: Final = (*(source.name for source in SOURCES), "ferryman", CAMPAIGNS, "bus")
"""Sources of events: those of webhooks, what handling an event emits, and what no worker could read."""

app = typer.Typer(help="What was accepted, and what became of it.", no_args_is_help=True)


@app.command("list")
def list_(
    type: Annotated[str | None, typer.Option(help="Only events of this type.")] = None,
    source: Annotated[str | None, Text("--source", help="Only events of this source.")] = None,
    worker: Annotated[str | None, typer.Option(help="Only events that this worker handles.")] = None,
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


@app.command()
def tail() -> None:
    """Follow what arrives and how it ends, a line each, until Ctrl-C."""
    run_async(_tail(read_settings()))


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
        stands = await standing(pool, WORKERS, found)
        why = reasons(found, WORKERS, await read_circumstances(pool))
    if json:
        show_json(found.document() | stands.document() | {"why": why})
    else:
        _print_trail(found, stands, why)


def _print_trail(found: EventTrail, stands: Standing, why: Mapping[str, str]) -> None:
    event = found.event
    for name, value in (("event", event.id), ("type", event.type), ("source", event.source), ("key", event.subject)):
        say(f"{name:8} {value}")
    if event.causationid:
        say(f"cause    {event.causationid}")
    if stands.order_id is not None:
        say(f"order    {stands.order_id}, {_order(stands)}")
    say("")
    say(f"{shown_time(event.time)}  arrived")
    for at, line in sorted(_steps(found), key=lambda step: step[0]):
        say(f"{shown_time(at)}  {line}")
    for worker in found.open:
        behind = f"; behind event {stands.behind[worker]}" if worker in stands.behind else ""
        say(f"{'':19}  {worker}: open, {why[worker]}{behind}")
    if found.conflicts:
        say(f"{'':19}  {found.conflicts} other bodies came under this id: the first one counts")
    say("")
    say(shown_json(event.data), lines=True)


def _order(stands: Standing) -> str:
    """The order's status in words, with the reason of one that has failed."""
    if (order := stands.order) is None:
        return "which has no row in `orders`"
    return f"{order.status or 'of no status'}" + (f" ({redact_text(order.reason)})" if order.reason else "")


def _steps(found: EventTrail) -> list[tuple[datetime, str]]:
    """(time, line) of everything that happened after the arrival."""
    steps = []
    for e in found.endings:
        text = f"{e.worker}: {e.outcome}" + (f" ({e.reason})" if e.reason else "")
        text += f", after {e.attempts} failed attempts" if e.attempts else ""
        steps.append((e.at, text + (f" [replay {e.replay_id}]" if e.replay_id else "")))
    for f in found.attempts:
        error = f"{f.error_class}: {redact_text(f.error_text)}"
        again = f"{f.worker}: attempt {f.failures} failed ({error}), again at {shown_time(f.next_at)}"
        steps.append((f.at, again + ("" if f.attempts == f.failures else f"; {f.attempts} of them count")))
    for x in found.letters:
        error = f"{x.error_class}: {redact_text(x.error_text)}"
        steps.append((x.buried_at, f"{x.worker}: dead letter {x.id} after {x.attempts} attempts ({error})"))
        if x.settled_at is not None:
            edited = f", with edited data: `ferryman dead-letters show {x.id}`" if x.edited_at is not None else ""
            steps.append((x.settled_at, f"{x.worker}: dead letter {x.id} {x.state} by {x.settled_by}{edited}"))
    steps += [(one.time, f"emitted {one.type} {one.id}") for one in found.caused]
    return steps


async def _tail(settings: Settings) -> None:
    async with opened(settings) as (_, pool):
        stop = asyncio.Event()
        stop_on_signals(stop)
        printing = asyncio.create_task(_print_each(trail.follow(pool)))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({printing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if printing.done():
            printing.result()
        printing.cancel()
        await asyncio.wait({printing})


async def _print_each(happening: AsyncIterator[FoundEvent | WorkerEnding]) -> None:
    async for one in happening:
        if isinstance(one, FoundEvent):
            say(f"{shown_time(one.time)}  {one.id}  {one.type}  from {one.source}  {masked_key(one.key)}")
        else:
            reason = f" ({redact_text(one.reason)})" if one.reason else ""
            replay = " replay" if one.replay_id else ""
            say(f"{shown_time(one.at)}  {one.event_id}  {one.worker}: {one.outcome}{reason}{replay}")
