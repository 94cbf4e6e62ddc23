"""What the bus counts and measures."""

from __future__ import annotations

from typing import Final

from daemon.telemetry.declared import Declared

OUTCOMES: Final = ("done", "skipped", "dead", "uncertain")

OF_ALL: Final = "Of the whole installation: every process tells the same number, so take their max, not their sum."

METRICS: Final = (
    Declared(
        "ferryman_events_total",
        "counter",
        "How the handling of events ended.",
        ("worker", "outcome"),
        values={"outcome": OUTCOMES},
    ),
    Declared(
        "ferryman_event_seconds",
        "histogram",
        "Seconds of one call of a handler.",
        ("worker",),
        (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
    ),
    Declared(
        "ferryman_lag",
        "gauge",
        f"Events published that the worker has not settled, read or not. {OF_ALL}",
        ("worker",),
    ),
    Declared(
        "ferryman_oldest_seconds",
        "gauge",
        "Age of the worker's oldest unsettled event, read or not, also of a worker that is paused or waits for its"
        f" leases. {OF_ALL}",
        ("worker",),
    ),
    Declared(
        "ferryman_unattended_seconds",
        "gauge",
        f"How long no process has run the worker while work waits for it; 0: one runs it, or nothing waits. {OF_ALL}",
        ("worker",),
    ),
    Declared("ferryman_dead_letters", "gauge", f"Dead letters that wait for a person. {OF_ALL}", ("worker",)),
    Declared("ferryman_uncertain", "gauge", f"Sends whose outcome is not known. {OF_ALL}", ("provider",)),
    Declared("ferryman_breaker_open", "gauge", "1 while calls to the provider are stopped.", ("provider",)),
    Declared("ferryman_provider_paused", "gauge", "1 while an operator has paused the provider.", ("provider",)),
    Declared(
        "ferryman_provider_wait_seconds",
        "gauge",
        "For how many seconds more the provider is asked nothing, because it said that we ask too often.",
        ("provider",),
    ),
    Declared("ferryman_worker_paused", "gauge", "1 while an operator has paused the worker.", ("worker",)),
    Declared("ferryman_spool", "gauge", f"Accepted events that wait in Postgres for Redis. {OF_ALL}"),
    Declared("ferryman_log_lines_dropped_total", "counter", "Log lines dropped because the log's reader took none."),
    Declared("ferryman_loop_lag_seconds", "gauge", "How late the event loop runs what is due."),
)
