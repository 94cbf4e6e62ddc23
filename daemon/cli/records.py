"""`ferryman records`: the verbs about records, each topic in a file of its own."""

from __future__ import annotations

import typer

from daemon.cli import (
    records_conflicts,
    records_erase,
    records_queue,
    records_replicas,
    records_show,
    records_upkeep,
)

app = typer.Typer(help="Records that apps and branch offices write, and how they come together.", no_args_is_help=True)

app.command("stats")(records_queue.stats)
app.command("sync")(records_queue.sync)
app.command("retry-failed")(records_queue.retry_failed)
app.command("queue")(records_queue.queue)
app.command("show")(records_show.show)
app.command("erase")(records_erase.erase)
app.command("replicas")(records_replicas.replicas)
app.command("conflicts")(records_conflicts.conflicts)
app.command("resolve")(records_conflicts.resolve)
app.command("compact")(records_upkeep.compact)
app.command("new-epoch")(records_upkeep.new_epoch)
app.command("check")(records_upkeep.check)
