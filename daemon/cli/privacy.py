"""`ferryman privacy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from daemon.cli.arguments import parse_words
from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import DryRun, Json, Yes, confirm, content_of, opened, operator, shown_time
from daemon.operator.privacy import map as privacy_map
from daemon.settings.model import Settings

app = typer.Typer(
    help="What is kept about people: shown, given to a person, erased, and proved to be gone.", no_args_is_help=True
)

_WHO = "A phone in any notation, an e-mail address, a contact's id or an order's id."
Person = Annotated[str, typer.Argument(metavar="PERSON", parser=parse_words, help=_WHO)]


@app.command("map")
def map_(json: Json = False) -> None:
    """Where what is kept about a person, what for, how long, and what an erasure does with it."""
    held = privacy_map.documents(read_settings())
    if json:
        show_json(held)
        return
    columns = ("where", "about a person", "what for", "how long", "an erasure")
    shown = [one for one in held if one["about"]]
    show_table(columns, [[one[name] for name in ("place", "about", "purpose", "kept", "erased")] for one in shown])


@app.command()
def export(
    person: Person,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="A new file: a ZIP archive, for your eyes alone.")],
    json: Json = False,
) -> None:
    """All that is kept about a person, of all systems, as JSON with an index and digests. Other people are masked."""
    index = run_async(_export(read_settings(), person, to))
    if json:
        show_json(index)
        return
    show_table(("file", "bytes", "holds"), [[n, str(f["bytes"]), f["holds"]] for n, f in index["files"].items()])
    if index["missing"]:
        say(f"not to be had from the archive now: {len(index['missing'])} files", err=True)
    say(f"written to {to}: delete it when the person has it")


@app.command()
def erase(person: Person, dry_run: DryRun = False, yes: Yes = False, json: Json = False) -> None:
    """Erase a person everywhere, for good: rows, events, streams, files, and the contact in Chatwoot. Nothing that
    comes late brings them back; an order that they place later begins anew. After a crash the same command goes on."""
    run_async(_erase(read_settings(), person, dry_run, yes, json))


@app.command()
def resume() -> None:
    """Go on with erasures that were cut short."""
    run_async(_resume(read_settings()))


@app.command()
def verify(person: Person, json: Json = False) -> None:
    """Search every table, stream, key, file and log of ours for a person. Exit code 1 where something is found."""
    found = run_async(_verify(read_settings(), person))
    if json:
        show_json([{"place": one.place, "times": one.times} for one in found])
    elif found:
        show_table(("where", "times"), [[one.place, str(one.times)] for one in found])
    else:
        say("nothing is kept about this person")
    if found:
        raise typer.Exit(FAILED)


@app.command("list")
def list_(json: Json = False) -> None:
    """The erasures, the newest first: numbers alone."""
    found = run_async(_list(read_settings()))
    if json:
        show_json(found)
        return
    rows = [[str(o["erasure"]), o["actor"], shown_time(o["started_at"]), shown_time(o["finished_at"])] for o in found]
    if rows:
        show_table(("erasure", "by", "begun (UTC)", "done (UTC)"), rows)
    say({0: "nobody was erased", 1: "1 erasure"}.get(len(rows), f"{len(rows)} erasures"))


@app.command()
def ledger() -> None:
    """The ledger of erasures as the database has it, as JSON lines: keep it beside backups that are kept elsewhere."""
    say(run_async(_ledger(read_settings())), lines=True)


@app.command()
def reapply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="erasures.jsonl, the newest, from beside the database.")],
    yes: Yes = False,
) -> None:
    """Erase again, in a database that was restored from a backup, whoever was erased since. Do it before a daemon
    starts."""
    run_async(_reapply(read_settings(), file, yes))


@app.command()
def retention(json: Json = False) -> None:
    """What is older than the settings keep, and would go tonight."""
    found = run_async(_retention(read_settings()))
    if json:
        show_json(found)
        return
    rows = [[o["kind"], str(o["days"] or "for ever"), "" if o["rows"] is None else str(o["rows"])] for o in found]
    show_table(("kind", "days", "would go"), rows)


async def _export(settings: Settings, person: str, to: Path) -> dict[str, Any]:
    from daemon.operator.privacy.exporting import export
    from daemon.operator.privacy.service import open_eraser

    async with (
        opened(settings) as (addresses, pool),
        open_eraser(settings, pool, addresses.redis_url, operator()) as eraser,
    ):
        return await export(pool, eraser.bus, eraser.beyond, person, to, operator())


async def _erase(settings: Settings, person: str, dry_run: bool, yes: bool, json: bool) -> None:
    from daemon.operator.privacy.service import keep_receipt, open_eraser

    async with (
        opened(settings) as (addresses, pool),
        open_eraser(settings, pool, addresses.redis_url, operator()) as eraser,
    ):
        begun = await eraser.begun(person)
        if dry_run or not yes:
            plan = await eraser.plan(person) if begun is None else {"goes_on": begun}
            if dry_run and json:
                show_json(plan)
                return
            _say_plan(plan)
            if dry_run:
                return
            confirm("erase this person for good?", "erase this person for good", yes=yes)
        receipt = await eraser.erase(person)
        path = keep_receipt(settings, receipt)
    if json:
        show_json(receipt)
        return
    for told in receipt["outside"]:
        say(f"{told['system']}: {'deleted' if told['done'] else told['do']}")
    say(f"erased; the receipt {receipt['sha256'][:12]} is in {path}. {receipt['starts_anew']}")


def _say_plan(plan: dict[str, Any]) -> None:
    if "goes_on" in plan:
        say(f"erasure {plan['goes_on']} was begun before, and would go on")
        return
    rows = [[name, str(count)] for name, count in plan["rows"].items()]
    rows += [[name, str(plan[name])] for name in ("entries", "objects") if plan[name]]
    show_table(("what", "how much"), rows)
    for told in plan["outside"]:
        say(f"{told['system']}: {told['do']}")
    for kept in plan["kept"]:
        say(f"{kept['what']} stays {kept['why']}")


async def _resume(settings: Settings) -> None:
    from adapters.postgres.operator.privacy import erasures
    from daemon.operator.privacy.service import keep_receipt, open_eraser

    async with (
        opened(settings) as (addresses, pool),
        open_eraser(settings, pool, addresses.redis_url, operator()) as eraser,
    ):
        open_ones = await erasures.unfinished(pool)
        for number in open_ones:
            say(f"erasure {number} is done: {keep_receipt(settings, await eraser.go_on(number))}")
    if not open_ones:
        say("no erasure was cut short")


async def _verify(settings: Settings, person: str) -> list[Any]:
    from daemon.operator.privacy.service import open_eraser
    from daemon.operator.privacy.verifying import verify

    async with (
        opened(settings) as (addresses, pool),
        open_eraser(settings, pool, addresses.redis_url, operator()) as eraser,
    ):
        return list(await verify(pool, eraser.bus, settings, person))


async def _list(settings: Settings) -> list[dict[str, Any]]:
    from adapters.postgres.operator.privacy import erasures
    from daemon.operator.privacy.erasing import receipt_of

    async with opened(settings) as (_, pool):
        return [receipt_of(one) for one in await erasures.newest(pool, 100)]


async def _ledger(settings: Settings) -> str:
    from daemon.operator.privacy import ledger

    async with opened(settings) as (_, pool):
        return (await ledger.written(pool)).decode().strip()


async def _reapply(settings: Settings, path: Path, yes: bool) -> None:
    from daemon.operator.privacy import ledger
    from daemon.operator.privacy.service import open_eraser

    entries = ledger.read(content_of(path))
    confirm(f"apply {len(entries)} erasures again?", f"apply {len(entries)} erasures again", yes=yes)
    async with (
        opened(settings) as (addresses, pool),
        open_eraser(settings, pool, addresses.redis_url, operator()) as eraser,
    ):
        done = await ledger.reapply(eraser, entries)
    say(f"of {len(entries)} erasures {done} had something here again; it is gone")


async def _retention(settings: Settings) -> list[dict[str, Any]]:
    from daemon.operator.privacy.retaining import report

    async with opened(settings) as (_, pool):
        return await report(pool, settings)
