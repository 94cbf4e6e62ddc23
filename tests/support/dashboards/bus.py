"""The dashboard *bus*: how events get through, and how the stores and the processes are."""

from __future__ import annotations

from typing import Final

from tests.support.dashboards.made import Dashboard, Panel, a_second, an_hour, highest, lowest, p95
from tests.support.dashboards.shared import LAG, OLDEST

EVENTS: Final = (
    LAG,
    OLDEST,
    Panel("Handling", "95 of 100 calls of a handler take no longer.", "s", p95("ferryman_event_seconds", "worker")),
    Panel(
        "Without a process",
        "How long work has waited for a worker that no process runs.",
        "s",
        highest("ferryman_unattended_seconds", "worker"),
    ),
    Panel("Dead letters", "Events that wait for a person.", "short", highest("ferryman_dead_letters", "worker")),
    Panel("Spool", "Accepted events that wait for Redis.", "short", highest("ferryman_spool", legend="events")),
)

WEBHOOKS: Final = (
    Panel("Answer time", "95 of 100 webhooks are answered within it.", "s", p95("ferryman_webhook_seconds", "source")),
    Panel(
        "Refused",
        "Requests and connections an hour that were refused, by source and why.",
        "short",
        an_hour("ferryman_refused_total", "source", "reason") | an_hour("ferryman_connections_refused_total", "reason"),
    ),
)

STORES: Final = (
    Panel(
        "Write",
        "How long one small write takes, with its sync to disk.",
        "s",
        highest("ferryman_store_write_seconds", "store"),
    ),
    Panel(
        "Connections",
        "Connections of each store, also those of other programs.",
        "short",
        highest("ferryman_store_connections", "store"),
    ),
    Panel(
        "Size on disk",
        "Of Redis's append-only file, of our database in Postgres.",
        "bytes",
        highest("ferryman_store_size_bytes", "store"),
    ),
    Panel("Memory", "In use by the data of Redis.", "bytes", highest("ferryman_store_memory_bytes", "store")),
)

PROCESSES: Final = (
    Panel(
        "Loop lag",
        "How late a process does what is due. Above 0.5 it has no CPU left.",
        "s",
        highest("ferryman_loop_lag_seconds", "instance"),
    ),
    Panel("Free disk", "On the disk of the data directory.", "bytes", lowest("ferryman_disk_free_bytes", "instance")),
    Panel(
        "Log lines dropped",
        "Lines an hour that the reader of the log did not take.",
        "short",
        an_hour("ferryman_log_lines_dropped_total", "instance"),
    ),
    Panel(
        "Spans",
        "Spans of traces a second: ended here, taken by the collector, refused by it. The rest had no room.",
        "short",
        a_second("ferryman_spans_total", "outcome"),
    ),
)

RECORDS: Final = (
    Panel(
        "Operations",
        "Operations on records a second, by what became of them.",
        "ops",
        a_second("ferryman_sync_operations_total", "result"),
    ),
    Panel(
        "Queue of an edge",
        "Operations that wait for the upstream, have failed there, or are in conflict.",
        "short",
        highest("ferryman_sync_queue", "state"),
    ),
    Panel(
        "Oldest of an edge",
        "How long the oldest operation has waited for the upstream.",
        "s",
        highest("ferryman_sync_oldest_pending_seconds", legend="oldest"),
    ),
    Panel(
        "Conflicts",
        "Conflicts of records that wait for a person.",
        "short",
        highest("ferryman_sync_conflicts_open", legend="open"),
    ),
)

BUS: Final = Dashboard(
    "bus",
    "Ferryman: bus and stores",
    "How events get through, and how the stores and the processes are.",
    {"Events": EVENTS, "Webhooks": WEBHOOKS, "Stores": STORES, "Processes": PROCESSES, "Records": RECORDS},
)
