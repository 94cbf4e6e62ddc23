"""`ferryman events`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.postgres.operator import trail as paths
from adapters.postgres.operator.trail import Ending, Filter, Found
from daemon.cli.context import read_settings, run_async
from daemon.cli.tools import masked_key, moment, opened, print_json, shown_json
from daemon.lifecycle import stop_on_signals
from daemon.operator.trail import Way, find, follow, handled, keys_of, states, way
from daemon.settings.model import Settings
from daemon.telemetry.redaction import redact_text
from daemon.workers import WORKERS
from schemas.envelope import TYPES
from schemas.errors import FerrymanError

OUTCOMES: Final = ("done", "skipped", "dead", "uncertain", "open")

app = typer.Typer(help="What was accepted, and what became of it.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]


class NoSuchEvent(FerrymanError):
    """Nothing that is kept answers to what was asked for."""


@app.command("list")
def list_(
    type: Annotated[str | None, typer.Option(help="Only events of this type.")] = None,
    source: Annotated[str | None, typer.Option(help="Only events of this source.")] = None,
    worker: Annotated[str | None, typer.Option(help="Only events that this worker handles.")] = None,
    outcome: Annotated[str | None, typer.Option(help=f"How a worker ended: {', '.join(OUTCOMES)}.")] = None,
    key: Annotated[str | None, typer.Option(help="Events of one person: a phone, an e-mail address.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Events that arrived since then (UTC).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    json: Json = False,
) -> None:
    """The newest events first; keys are masked."""
    _known("--type", type, list(TYPES))
    _known("--worker", worker, [w.name for w in WORKERS])
    _known("--outcome", outcome, OUTCOMES)
    at = None if since is None else since.replace(tzinfo=UTC)
    chosen = Filter(type=type, source=source, worker=worker, outcome=outcome, key=key, since=at)
    run_async(_list(read_settings(), chosen, limit, json))


@app.command()
def show(
    event: Annotated[str, typer.Argument(help="The id of an event or its beginning, of an order, or a key.")],
    json: Json = False,
) -> None:
    """One event's way through every worker, with its data. Several that fit are listed."""
    run_async(_show(read_settings(), event, json))


@app.command()
def tail() -> None:
    """Follow what arrives and how it ends, a line each, until Ctrl-C."""
    run_async(_tail(read_settings()))


def _known(option: str, value: str | None, names: Sequence[str]) -> None:
    if value is not None and value not in names:
        raise typer.BadParameter(f"{value} is none of {', '.join(names)}", param_hint=option)


async def _list(settings: Settings, chosen: Filter, limit: int, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found: list[Found] = []
        for key in [None] if chosen.key is None else keys_of(chosen.key):
            fitting = Filter(**{**asdict(chosen), "key": key})
            found += await paths.listed(pool, fitting, handled(WORKERS), limit)
        endings = await paths.endings(pool, [one.id for one in found])
    _print_list(found[:limit], endings, json)


def _print_list(found: Sequence[Found], endings: Sequence[Ending], json: bool) -> None:
    if json:
        print_json([_listed(one) | {"workers": states(WORKERS, one, endings)} for one in found])
        return
    table = Table("time (UTC)", "event", "type", "source", "key", "where", "workers", box=None)
    for one in found:
        became = "  ".join(f"{worker}: {state}" for worker, state in states(WORKERS, one, endings).items())
        key = Text(masked_key(one.key))
        table.add_row(moment(one.time), one.id, Text(one.type), Text(one.source), key, one.place, became)
    Console(soft_wrap=True).print(table if found else "no events")


def _listed(one: Found) -> dict[str, Any]:
    return asdict(one) | {"key": masked_key(one.key)}


async def _show(settings: Settings, wanted: str, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await find(pool, wanted)
        if len(found) == 1:
            known = await way(pool, WORKERS, found[0])
        endings = await paths.endings(pool, [one.id for one in found])
    if not found or (len(found) == 1 and known is None):
        raise NoSuchEvent("no event that is kept has this id, order or key: see `ferryman events list`")
    if len(found) > 1:
        _print_list(found, endings, json)
    elif json and known is not None:
        print_json(_document(known))
    elif known is not None:
        _print_way(known)


def _document(known: Way) -> dict[str, Any]:
    document = asdict(known.event) | {"data": known.event.data.decode(errors="replace")}
    kept = {name: value for name, value in document.items() if value not in ("", None)}
    letters = [
        {"number": x.id, "worker": x.worker, "state": x.state, "error_class": x.error_class, "error_text": x.error_text}
        | {"attempts": x.attempts, "buried_at": x.buried_at, "retries": x.retries, "settled_at": x.settled_at}
        for x in known.letters
    ]
    return kept | {
        "journaled_at": known.journaled_at,
        "endings": [asdict(ending) for ending in known.endings],
        "attempts": [asdict(tried) for tried in known.attempts],
        "open": known.open,
        "dead_letters": letters,
        "caused": [_listed(one) for one in known.caused],
        "other_bodies": known.conflicts,
    }


def _print_way(known: Way) -> None:
    event = known.event
    for name, value in (("event", event.id), ("type", event.type), ("source", event.source), ("key", event.subject)):
        typer.echo(f"{name:8} {value}")
    if event.causationid:
        typer.echo(f"cause    {event.causationid}")
    typer.echo(f"\n{moment(event.time)}  arrived")
    for at, line in sorted(_steps(known), key=lambda step: step[0]):
        typer.echo(f"{moment(at)}  {line}")
    trying = {tried.worker for tried in known.attempts}
    for worker in known.open:
        if worker not in trying:
            typer.echo(f"{'':19}  {worker}: open")
    if known.conflicts:
        typer.echo(f"{'':19}  {known.conflicts} other bodies came under this id: the first one counts")
    typer.echo("\n" + shown_json(event.data))


def _steps(known: Way) -> list[tuple[datetime, str]]:
    steps = []
    for e in known.endings:
        text = f"{e.worker}: {e.outcome}" + (f" ({e.reason})" if e.reason else "")
        text += f", after {e.attempts} failed attempts" if e.attempts else ""
        steps.append((e.at, text + (f" [replay {e.replay_id}]" if e.replay_id else "")))
    for t in known.attempts:
        error = f"{t.error_class}: {redact_text(t.error_text)}"
        steps.append((t.at, f"{t.worker}: attempt {t.attempts} failed ({error}), again at {moment(t.next_at)}"))
    for x in known.letters:
        error = f"{x.error_class}: {redact_text(x.error_text)}"
        steps.append((x.buried_at, f"{x.worker}: dead letter {x.id} after {x.attempts} attempts ({error})"))
        if x.settled_at is not None:
            steps.append((x.settled_at, f"{x.worker}: dead letter {x.id} {x.state} by {x.settled_by}"))
    steps += [(one.time, f"brought about {one.type} {one.id}") for one in known.caused]
    return steps


async def _tail(settings: Settings) -> None:
    async with opened(settings) as (_, pool):
        stop = asyncio.Event()
        stop_on_signals(stop)
        telling = asyncio.create_task(_tell(follow(pool)))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({telling, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if telling.done():
            telling.result()
        telling.cancel()
        await asyncio.wait({telling})


async def _tell(happening: Any) -> None:
    async for one in happening:
        if isinstance(one, Found):
            typer.echo(f"{moment(one.time)}  {one.id}  {one.type}  from {one.source}  {masked_key(one.key)}")
        else:
            reason = f" ({redact_text(one.reason)})" if one.reason else ""
            replay = " replay" if one.replay_id else ""
            typer.echo(f"{moment(one.at)}  {one.event_id}  {one.worker}: {one.outcome}{reason}{replay}")
