"""`ferryman replays`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import Json, opened, shown_time
from daemon.operator.replay import list_replays
from daemon.settings.model import Settings

app = typer.Typer(help="Replays: what was delivered again, how far each has come, and who began it.")


@app.callback()
def _group() -> None:
    pass


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=100)] = 20, json: Json = False
) -> None:
    """The replays that began last, the last one first."""
    found = run_async(_list(read_settings(), limit))
    if json:
        show_json(found)
    elif not found:
        say("no replay has begun yet: `ferryman replay --worker W --dry-run` shows a plan")
    else:
        rows = [_row(one) for one in found]
        show_table(("began (UTC)", "worker", "published", "of", "ended (UTC)", "by", "which events"), rows)


async def _list(settings: Settings, limit: int) -> list[dict[str, Any]]:
    async with opened(settings) as (_, pool):
        return await list_replays(pool, limit)


def _row(one: Mapping[str, Any]) -> list[str]:
    which = [f"{name} {value}" for name, value in one["filter"].items() if value is not None]
    ended = shown_time(one["finished_at"]) or "not yet"
    counts = str(one["published"]), str(one["total"])
    return [shown_time(one["started_at"]), one["worker"], *counts, ended, one["by"] or "", "; ".join(which)]
