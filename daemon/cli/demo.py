"""`ferryman demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.audit import show_balance
from daemon.cli.context import read_settings, run_async, until_stopped
from daemon.cli.demo_chat import show_chat
from daemon.cli.screen import progress, say, show_json, show_table
from daemon.demo import chat
from daemon.demo.page import served
from daemon.demo.performance import Result, perform
from daemon.demo.stage import Stage, staged
from daemon.telemetry import logs


def demo(
    orders: Annotated[int, typer.Option("--orders", min=1, max=9000, help="How many orders to send.")] = 25,
    seed: Annotated[int, typer.Option(help="The same seed invents the same orders.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep running afterwards, until Ctrl-C.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Instead: two daemons and a phone, cut off from each other.")
    ] = False,
) -> None:
    """Send invented orders through the whole of Ferryman, on servers of its own, and prove what became of each."""
    data_dir = read_settings().ferryman_data_dir / "demo"
    data_dir = data_dir / "offline" if offline else data_dir
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "daemon.log").open("ab", buffering=0) as log:
        logs.configure("info", stream=log)
        if offline:
            from daemon.cli.demo_offline import demo_offline

            ok = run_async(demo_offline(data_dir, json=json, keep=keep))
        else:
            ok = run_async(_demo(data_dir, orders, seed, json, keep)).ok
    if not ok:
        raise typer.Exit(1)


async def _demo(data_dir: Path, orders: int, seed: int, json: bool, keep: bool) -> Result:
    say(
        "starting Valkey, PostgreSQL, the daemon, and simulated CGB, Chatwoot, Meta, Twilio, Whapi and OpenAI …",
        err=json,
    )
    async with staged(data_dir) as stage:
        with progress("webhooks have ended", err=json) as report:
            result = await perform(stage, orders, seed, report)
        if json:
            show_json(result.document())
        else:
            _show(result)
        if keep:
            await _keep(stage, err=json)
    if not json:
        _where_next(data_dir)
    return result


def _show(result: Result) -> None:
    rows = [(s.order_id, s.what, str(s.reply.status) if s.reply else "none", s.outcome) for s in result.shipments]
    show_table(("order", "what it is", "answer", "what became of it"), rows, title="Orders", box=True)
    letters = [(one.what, one.provider, one.outcome) for one in result.letters]
    show_table(("message", "provider", "what became of it"), letters, title="Messages", box=True)
    show_chat(chat.said(result.conversation), chat.document(result.conversation))
    say("")
    show_balance(result.audit)
    say(f"sync bulk of {result.bulk.ended} orders: {result.bulk_writes} writes, for nothing had changed since")
    duplicates = sum(s.duplicate for s in result.shipments)
    say(
        f"CGB was asked {result.requests} times: {result.writes} writes, {len(result.made)} contacts made;"
        f" {duplicates} duplicate webhooks; {result.seconds:.1f} s"
    )
    for disagreement in result.disagreements:
        say(f"does NOT agree: {disagreement}")
    say("the balance holds and the simulator's ledger agrees" if result.ok else "NOT in balance")


async def _keep(stage: Stage, *, err: bool) -> None:
    async with served(stage.customer, stage.pool) as chat_url:
        for name, address in (
            ("listener", f"{stage.url}  (/readyz, /metrics, /webhooks/orders, /api/v1/docs)"),
            ("CGB", f"{stage.cgb.url}  ({stage.cgb.root}/_sandbox/ledger)"),
            ("Meta", stage.meta.url),
            ("Twilio", stage.twilio.url),
            ("Whapi", stage.whapi.url),
            ("Chatwoot", f"{stage.chatwoot.url}  (its token: {stage.chatwoot.token})"),
            ("OpenAI", stage.openai.url),
            ("Redis", stage.addresses.redis_url),
            ("Postgres", stage.addresses.database_url),
            ("chat", f"{chat_url}  (in a browser, write as the customer: “Write a post about sailing”)"),
        ):
            say(f"{name:<10} {address}", err=err)
        say("running until Ctrl-C", err=err)
        await until_stopped()


def _where_next(data_dir: Path) -> None:
    say("")
    say("where to look next:")
    say("  ferryman demo             again: every order is a duplicate, nothing is sent twice; people talk anew")
    say("  ferryman demo --keep      keeps running: write to the bot as its customer, look at /metrics and the tables")
    say(f"  {data_dir / 'daemon.log'}   the log of the daemon, one JSON object a line")
    say("  deploy/README.md          how to install it for real: ferryman run")
