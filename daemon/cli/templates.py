"""`ferryman templates`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from adapters.postgres.pool import Pool
from adapters.postgres.templates import Asked
from adapters.redis import streams
from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import DryRun, Json, Text, opened
from daemon.operator import templates
from daemon.operator.templates import Outcome
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings

app = typer.Typer(help="The templates of providers, as their lists were read last.", no_args_is_help=True)

_TIMEOUT_S = 5.0

Provider = Annotated[str | None, Text("--provider", help="cgb or meta; all that are there.")]


@app.command("list")
def list_(provider: Provider = None, json: Json = False) -> None:
    """The templates, how each stands, and the variables that a message has to give it."""
    run_async(_list(read_settings(), provider, json))


@app.command()
def sync(provider: Provider = None, dry_run: DryRun = False, json: Json = False) -> None:
    """Read the lists now, as the daemon does every hour for Meta, and say what is new, changed and gone."""
    outcomes = run_async(_sync(read_settings(), provider, dry_run))
    if json:
        show_json(templates.document(outcomes))
    else:
        _say(outcomes, dry_run)
    if any(one.problem is not None for one in outcomes):
        raise typer.Exit(FAILED)


async def _list(settings: Settings, provider: str | None, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await _all(pool, provider)
    if json:
        show_json(found)
        return
    rows = [
        [
            *(one[name] or "" for name in ("provider", "name", "language", "category", "status", "quality")),
            ", ".join(one["variables"]),
        ]
        for one in found
    ]
    if rows:
        show_table(("provider", "name", "language", "category", "status", "quality", "variables"), rows, fit=False)
        say(f"{len(rows)} templates")
    else:
        say("no template is known: `ferryman templates sync` reads the lists of the providers")


async def _all(pool: Pool, provider: str | None) -> list[dict[str, Any]]:
    """All templates, a page at a time."""
    found: list[dict[str, Any]] = []
    after = templates.FIRST
    while page := await templates.listed(pool, after=after, provider=provider):
        found += page
        last = page[-1]
        after = Asked(last["provider"], last["account"], last["name"], last["language"] or "")
    return found


async def _sync(settings: Settings, provider: str | None, dry_run: bool) -> list[Outcome]:
    async with opened(settings) as (addresses, pool):
        redis = streams.client(addresses.redis_url, timeout_s=_TIMEOUT_S, connections=2)
        try:
            return await templates.read_lists(pool, InForce(settings), redis, provider, dry_run=dry_run)
        finally:
            await redis.aclose()


def _say(outcomes: list[Outcome], dry_run: bool) -> None:
    for one in outcomes:
        if one.problem is not None:
            say(f"{one.provider}: the list could not be read: {one.problem}", err=True)
            continue
        found = templates.counts([one])
        would = "would be " if dry_run else ""
        told = ", ".join(f"{found[what]} {would}{what}" for what in ("new", "changed", "gone"))
        say(f"{one.provider}: {found['total']} templates: {told}")
