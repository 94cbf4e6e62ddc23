"""`ferryman records stats|sync|retry-failed|queue`: an edge and its upstream."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from adapters.postgres.records.queue import count_failed
from daemon.bus.worker import utc_now
from daemon.cli.arguments import parse_words, require_known
from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import DryRun, Json, Text, Yes, opened, operator, shown_time
from daemon.operator import records
from daemon.operator.records import OPEN, STATES
from daemon.records.stats import stats as read_stats
from daemon.settings.model import Settings
from schemas.errors import UsageError

_NONE: Final = "no such operations"

OfModel = Annotated[str | None, Text("--model", help="Only operations on this model, as Lead.")]


def stats(json: Json = False) -> None:
    """What waits for the upstream, what failed, conflicts, what was synced today, and whether it is online."""
    run_async(_stats(read_settings(), json))


def sync(json: Json = False) -> None:
    """Exchange with the upstream now: send what waits, fetch what is new. Exit code 1 where that is stopped."""
    run_async(_sync(read_settings(), json))


def retry_failed(
    op: Annotated[str | None, Text("--op", help="Only the operation with this id.")] = None,
    model: OfModel = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Let operations that failed go to the upstream again, under the same ids. A running daemon sends them at once."""
    run_async(_retry(read_settings(), _op_id(op), model, dry_run, yes))


def queue(
    state: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", parser=parse_words, help=f"Only those: {', '.join(STATES)}."),
    ] = None,
    model: OfModel = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 100,
    json: Json = False,
) -> None:
    """The operations for the upstream that wait, that failed, and whose conflict waits for a person there."""
    for one in state or ():
        require_known("--state", one, STATES)
    run_async(_queue(read_settings(), tuple(state or OPEN), model, limit, json))


def _op_id(text: str | None) -> UUID | None:
    """Raises: UsageError."""
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise UsageError("--op names an operation by its op_id, a UUID: see `ferryman records queue`") from None


async def _stats(settings: Settings, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await read_stats(pool, settings, utc_now())
    if json:
        show_json(found)
        return
    oldest = "" if found["oldest_pending_s"] is None else f", the oldest for {found['oldest_pending_s']} s"
    say(f"pending       {found['pending']}{oldest}")
    for name in ("failed", "conflicts", "synced_today", "records"):
        say(f"{name.replace('_', ' '):13} {found[name]}")
    say(f"last sync     {_when(found['last_sync'])}")
    say(f"online        {'yes' if found['online'] else 'no'}")
    if found["last_error"]:
        say(f"last error    {found['last_error']}")


def _when(at: Any) -> str:
    return "never" if at is None else f"{shown_time(at)} UTC"


async def _sync(settings: Settings, json: bool) -> None:
    async with opened(settings) as (_, pool):
        done = await records.sync_now(pool, settings)
        left = await read_stats(pool, settings, utc_now())
    document = records.round_document(done, left["pending"])
    if json:
        show_json(document)
    else:
        counts = (f"{document[name]} {name}" for name in ("synced", "conflicts", "failed", "pending", "pulled"))
        say(", ".join(counts))
        if document["error"]:
            say(document["error"])
        if left["failed"]:
            say(f"{left['failed']} refused, now or before: `ferryman records queue --state failed` says why")
    if done.error is not None:
        raise typer.Exit(FAILED)


async def _retry(settings: Settings, op_id: UUID | None, model: str | None, dry_run: bool, yes: bool) -> None:
    async with opened(settings) as (_, pool):
        count = await count_failed(pool, op_id=op_id, model=model)
        if dry_run or not count:
            say(f"{count} failed operations to send again")
            return
        # the upstream knows their ids: nothing is done twice, so only a person at a terminal is asked
        if not yes and op_id is None and sys.stdin.isatty() and not typer.confirm(f"send {count} again?"):
            raise typer.Abort
        found = await records.put_back(pool, op_id=op_id, model=model, actor=operator())
    say(f"{len(found)} put back: a running daemon sends them at once, else `ferryman records sync`")


async def _queue(settings: Settings, states: tuple[str, ...], model: str | None, limit: int, json: bool) -> None:
    async with opened(settings) as (_, pool):
        found = await records.queued(pool, states, model, limit)
    if not found:
        is_hub = settings.sync_upstream_url is None
        told = "this server is a hub: the queue is an edge's, which has SYNC_UPSTREAM_URL" if is_hub else _NONE
        say(told, err=json)
    if json:
        show_json(found)
    if json or not found:
        return
    heads = ("op_id", "operation", "model", "record", "user", "state", "retries", "written (UTC)", "error")
    show_table(heads, [_cells(one) for one in found])


def _cells(one: dict[str, Any]) -> list[str]:
    names = (one["op_id"], one["operation"], one["model"], one["record_id"], one["user_id"], one["state"])
    return [*map(str, names), str(one["retry_count"]), shown_time(one["created_at"]), one["error"] or ""]
