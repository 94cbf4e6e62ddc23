"""`ferryman dead-letters`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.postgres.operator import dead_letters
from adapters.postgres.operator.dead_letters import Choice, Kept, Target
from adapters.postgres.pool import Pool
from daemon.cli.context import read_settings, run_async
from daemon.cli.progress import progress
from daemon.cli.tools import confirm, masked_key, moment, opened, operator, print_json, shown_json
from daemon.operator import dead_letters as letters
from daemon.operator.dead_letters import LetterError
from daemon.settings.model import Settings
from daemon.telemetry.redaction import redact_text
from schemas.envelope import Event

app = typer.Typer(help="Events that ended without success: look, send again, settle.", no_args_is_help=True)

Ids = Annotated[list[int] | None, typer.Argument(help="Numbers of letters, as `list` and `show` name them.")]
OfWorker = Annotated[str | None, typer.Option("--worker", help="Only letters of this worker.")]
OfClass = Annotated[str | None, typer.Option("--class", help="Only letters of this error class.")]
OfText = Annotated[str | None, typer.Option("--text", help="Only letters whose error has this text in it.")]
All = Annotated[bool, typer.Option("--all", help="Every open letter.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@app.command("list")
def list_(worker: OfWorker = None, error_class: OfClass = None, text: OfText = None, json: Json = False) -> None:
    """Open letters, grouped by worker and error."""
    run_async(_list(read_settings(), Choice(worker=worker, error_class=error_class, text=text), json))


@app.command()
def show(
    letter: Annotated[str, typer.Argument(help="A letter's number, or the id of its event.")], json: Json = False
) -> None:
    """One letter in full: the error, and the event as it is."""
    run_async(_show(read_settings(), letter, json))


@app.command()
def retry(
    ids: Ids = None,
    worker: OfWorker = None,
    error_class: OfClass = None,
    text: OfText = None,
    all: All = False,
    edit: Annotated[Path | None, typer.Option(help="A file with the JSON object that becomes its data.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Send letters to their workers once more, in the order of their events. A running daemon takes them up."""
    choice = _choice(ids, worker, error_class, text, all)
    if edit is not None and (ids is None or len(ids) != 1):
        raise typer.BadParameter("--edit goes with the number of exactly one letter")
    body = None if edit is None else _content(edit)
    run_async(_retry(read_settings(), choice, body, dry_run, yes))


@app.command()
def discard(
    ids: Ids = None,
    worker: OfWorker = None,
    error_class: OfClass = None,
    text: OfText = None,
    all: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Settle letters without another run. Their events stay dead in the accounts; the letters stay to be read."""
    run_async(_discard(read_settings(), _choice(ids, worker, error_class, text, all), dry_run, yes))


def _choice(ids: list[int] | None, worker: str | None, error_class: str | None, text: str | None, all: bool) -> Choice:
    given = bool(ids) or any(part is not None for part in (worker, error_class, text))
    if given == all:
        raise typer.BadParameter("name letters by number, by --worker, --class or --text; or say --all alone")
    return Choice(ids=tuple(ids) if ids else None, worker=worker, error_class=error_class, text=text)


async def _list(settings: Settings, choice: Choice, json: bool) -> None:
    async with opened(settings) as (_, pool):
        groups = await dead_letters.groups(pool, choice)
    if json:
        print_json([asdict(group) | {"error_text": redact_text(group.error_text)} for group in groups])
        return
    table = Table("count", "worker", "class", "error", "oldest (UTC)", "newest (UTC)", "numbers", box=None)
    for g in groups:
        numbers = " ".join(str(n) for n in g.ids[:5]) + (" …" if g.count > 5 else "")
        error = Text(redact_text(g.error_text))
        table.add_row(str(g.count), g.worker, g.error_class, error, moment(g.oldest), moment(g.newest), numbers)
    Console(soft_wrap=True).print(table if groups else "no open dead letters")


async def _show(settings: Settings, wanted: str, json: bool) -> None:
    number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 19 else None
    async with opened(settings) as (_, pool):
        found = await dead_letters.find(pool, number, wanted)
    if not found:
        raise LetterError(f"there is no dead letter {wanted}: see `ferryman dead-letters list`")
    if json:
        print_json([_document(letter) for letter in found])
        return
    for letter in found:
        for name, value in _document(letter).items():
            if value is not None and name != "data":
                typer.echo(f"{name:12} {value}")
        typer.echo(shown_json(letter.event.data) + "\n")


def _document(letter: Kept) -> dict[str, Any]:
    event = letter.event
    return {
        "number": letter.id,
        "state": letter.state,
        "worker": letter.worker,
        "error_class": letter.error_class,
        "error_text": letter.error_text,
        "attempts": letter.attempts,
        "buried_at": letter.buried_at,
        "retries": letter.retries,
        "settled_at": letter.settled_at,
        "settled_by": letter.settled_by,
        "edited_at": letter.edited_at,
        "event_id": event.id,
        "replay_id": event.replayid or None,
        "type": event.type,
        "source": event.source,
        "key": event.subject,
        "time": event.time,
        "data": event.data.decode(),
    }


async def _retry(settings: Settings, choice: Choice, body: bytes | None, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await letters.chosen(pool, choice)
        event = None if body is None else await _edited(pool, found[0], body)
        runnable = [target for target in found if target.runnable]
        _say(found, "to send again" + (f", edited, under the key {masked_key(event.subject)}" if event else ""))
        if unreadable := len(found) - len(runnable):
            typer.echo(f"  {unreadable} hold no event that could run: discard them when they have been looked at")
        if dry_run or not runnable:
            return
        confirm(f"send {len(runnable)} again?", f"send {len(runnable)} again", yes=yes, ask=choice.ids is None)
        screen = Console(soft_wrap=True)
        with progress(screen, "sent again") as report:
            count = await letters.retry(pool, [t.id for t in runnable], operator(), report, event=event)
    typer.echo(f"{count} on their way: a running daemon takes them up within seconds")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as exc:
        raise LetterError(f"{path} cannot be read ({exc.strerror}): name a file with a JSON object") from exc


async def _edited(pool: Pool, target: Target, body: bytes) -> Event:
    (letter,) = await dead_letters.find(pool, target.id, None)
    return letters.edited(letter, body)


async def _discard(settings: Settings, choice: Choice, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await letters.chosen(pool, choice)
        _say(found, "to discard")
        if dry_run or not found:
            return
        confirm(f"discard {len(found)}?", f"discard {len(found)} letters", yes=yes, ask=choice.ids is None)
        count = await letters.discard(pool, [target.id for target in found], operator())
    typer.echo(f"{count} discarded")


def _say(found: list[Target], what: str) -> None:
    counts = {worker: sum(t.worker == worker for t in found) for worker in sorted({t.worker for t in found})}
    of = ", ".join(f"{count} of {worker}" for worker, count in counts.items())
    typer.echo(f"{len(found)} {what}" + (f" ({of})" if of else ""))
