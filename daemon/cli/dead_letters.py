"""`ferryman dead-letters`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from adapters.postgres.operator.dead_letters import ChosenLetter, LetterFilter
from adapters.postgres.pool import Pool
from daemon.cli.arguments import parse_words
from daemon.cli.context import read_settings, run_async
from daemon.cli.named import LETTER_HELP
from daemon.cli.screen import progress, say, show_json, show_table
from daemon.cli.tools import DryRun, Json, Text, Yes, confirm, content_of, opened, operator, shown_json, shown_time
from daemon.operator import dead_letters
from daemon.operator.keys import masked_key
from daemon.operator.naming import the_letter
from daemon.settings.model import Settings

app = typer.Typer(help="Events that ended without success: read, send again, discard.", no_args_is_help=True)

Letters = Annotated[list[str] | None, typer.Argument(help=LETTER_HELP, parser=parse_words, metavar="LETTER")]
OfWorker = Annotated[str | None, Text("--worker", help="Only letters of this worker.")]
OfClass = Annotated[str | None, Text("--class", help="Only letters of this error class.")]
OfText = Annotated[str | None, Text("--text", help="Only letters whose error contains this text.")]
All = Annotated[bool, typer.Option("--all", help="Every open letter.")]


@app.command("list")
def list_(worker: OfWorker = None, error_class: OfClass = None, text: OfText = None, json: Json = False) -> None:
    """Open letters, grouped by worker and error."""
    run_async(_list(read_settings(), LetterFilter(worker=worker, error_class=error_class, text=text), json))


@app.command()
def show(
    letter: Annotated[
        str,
        typer.Argument(help=LETTER_HELP, parser=parse_words, metavar="LETTER"),
    ],
    json: Json = False,
) -> None:
    """One letter in full: the error, and the event with its data."""
    run_async(_show(read_settings(), letter, json))


@app.command()
def retry(
    letters: Letters = None,
    worker: OfWorker = None,
    error_class: OfClass = None,
    text: OfText = None,
    all: All = False,
    edit: Annotated[
        Path | None,
        typer.Option(help="A file with the mended data, or with what `show --json` printed, mended."),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Send letters to their workers once more, in the order of their events. A running daemon delivers them."""
    wanted = _filter(letters, worker, error_class, text, all)
    if edit is not None and (letters is None or len(letters) != 1):
        raise typer.BadParameter("--edit goes with exactly one letter")
    body = None if edit is None else content_of(edit)
    run_async(_retry(read_settings(), letters, wanted, body, dry_run, yes))


@app.command()
def discard(
    letters: Letters = None,
    worker: OfWorker = None,
    error_class: OfClass = None,
    text: OfText = None,
    all: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Close letters without another run. Their events still count as dead; `show` still shows the letters."""
    run_async(_discard(read_settings(), letters, _filter(letters, worker, error_class, text, all), dry_run, yes))


def _filter(
    letters: list[str] | None, worker: str | None, error_class: str | None, text: str | None, all: bool
) -> LetterFilter:
    given = bool(letters) or any(part is not None for part in (worker, error_class, text))
    if given == all:
        raise typer.BadParameter("name letters, or say --worker, --class or --text; or say --all alone")
    return LetterFilter(worker=worker, error_class=error_class, text=text)


async def _chosen(pool: Pool, letters: list[str] | None, wanted: LetterFilter) -> list[ChosenLetter]:
    """The open letters that fit *wanted*, of those that *letters* names where it names any."""
    if letters:
        wanted = replace(wanted, ids=tuple([(await the_letter(pool, name)).id for name in letters]))
    return await dead_letters.choose(pool, wanted)


async def _list(settings: Settings, wanted: LetterFilter, json: bool) -> None:
    async with opened(settings) as (_, pool):
        groups = await dead_letters.list_groups(pool, wanted)
    if json:
        show_json(groups)
        return
    if not groups:
        say("no open dead letters")
        return
    rows = []
    for group in groups:
        numbers = " ".join(str(n) for n in group["ids"][:5]) + (" …" if group["count"] > 5 else "")
        times = shown_time(group["oldest"]), shown_time(group["newest"])
        rows.append([str(group["count"]), group["worker"], group["error_class"], group["error_text"], *times, numbers])
    show_table(("count", "worker", "class", "error", "oldest (UTC)", "newest (UTC)", "numbers"), rows)


async def _show(settings: Settings, wanted: str, json: bool) -> None:
    async with opened(settings) as (_, pool):
        letter = await the_letter(pool, wanted)
    document = dead_letters.document(letter)
    if json:
        show_json(document)
        return
    for name, value in document.items():
        if name != "data" and value is not None:
            say(f"{name:12} {shown_time(value) if isinstance(value, datetime) else value}")
    say(shown_json(letter.event.data), lines=True)


async def _retry(
    settings: Settings, letters: list[str] | None, wanted: LetterFilter, body: bytes | None, dry_run: bool, yes: bool
) -> None:
    async with opened(settings) as (_, pool):
        found = await _chosen(pool, letters, wanted)
        event = None if body is None else await dead_letters.edited_event(pool, found[0].id, body)
        runnable = [letter for letter in found if letter.runnable]
        _say(found, "to send again" + (f", edited, under the key {masked_key(event.subject)}" if event else ""))
        if unreadable := len(found) - len(runnable):
            say(f"  {unreadable} hold no event that could run: read them with `show`, then discard them")
        if dry_run or not runnable:
            return
        confirm(f"send {len(runnable)} again?", f"send {len(runnable)} again", yes=yes, ask=not letters)
        with progress("sent again") as report:
            count = await dead_letters.retry(pool, [letter.id for letter in runnable], operator(), report, event=event)
    say(f"{count} on their way: a running daemon delivers them within seconds")
    dead_letters.require_all(count, len(runnable))


async def _discard(
    settings: Settings, letters: list[str] | None, wanted: LetterFilter, dry_run: bool, yes: bool
) -> None:
    async with opened(settings) as (_, pool):
        found = await _chosen(pool, letters, wanted)
        _say(found, "to discard")
        if dry_run or not found:
            return
        confirm(f"discard {len(found)}?", f"discard {len(found)} letters", yes=yes, ask=not letters)
        count = await dead_letters.discard(pool, [letter.id for letter in found], operator())
    say(f"{count} discarded")
    dead_letters.require_all(count, len(found))


def _say(found: Sequence[ChosenLetter], what: str) -> None:
    """How many letters there are *what* (to send again, to discard), in all and of each worker."""
    workers = [letter.worker for letter in found]
    of = ", ".join(f"{workers.count(name)} of {name}" for name in sorted(set(workers)))
    say(f"{len(found)} {what}" + (f" ({of})" if of else ": no open letter fits; see `ferryman dead-letters list`"))
