"""What the listener counts."""

from __future__ import annotations

from typing import Final

from daemon.telemetry.declared import Declared

OUTCOMES: Final = ("accepted", "spooled", "refused", "unavailable", "error")
REASONS: Final = (
    "missing", "key", "clock", "signature", "too_large", "not_json", "malformed", "no_identity", "timeout", "path",
    "method",
)  # fmt: skip

METRICS: Final = (
    Declared(
        "ferryman_webhooks_total",
        "counter",
        "Webhook requests answered.",
        ("source", "outcome"),
        values={"outcome": OUTCOMES},
    ),
    Declared(
        "ferryman_webhook_seconds",
        "histogram",
        "Seconds from a webhook request to its answer.",
        ("source",),
        (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    ),
    Declared(
        "ferryman_refused_total",
        "counter",
        "Webhook requests refused, by reason.",
        ("source", "reason"),
        values={"reason": REASONS},
    ),
    Declared(
        "ferryman_connections_refused_total",
        "counter",
        "Connections refused: their address has its share, or there is room for none.",
        ("reason",),
        values={"reason": ("share", "all")},
    ),
)
