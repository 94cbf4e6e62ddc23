"""What outgoing webhooks count."""

from __future__ import annotations

from typing import Final

from daemon.bus.metrics import OF_ALL
from daemon.subscribers.retries import OUTCOMES
from daemon.telemetry.declared import Declared

DELIVERIES: Final = "ferryman_webhook_deliveries_total"
SECONDS: Final = "ferryman_webhook_delivery_seconds"
FAILING: Final = "ferryman_webhook_subscribers_failing"
DISABLED: Final = "ferryman_webhook_subscribers_disabled"

METRICS: Final = (
    Declared(
        DELIVERIES,
        "counter",
        "Tries to deliver outgoing webhooks, by what became of each; not_tried: a fault of our own side.",
        ("outcome",),
        values={"outcome": OUTCOMES},
    ),
    Declared(
        SECONDS,
        "histogram",
        "How long subscribers take to answer, or not to.",
        buckets=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 15.0),
    ),
    Declared(FAILING, "gauge", f"Active subscribers whose last delivery has failed. {OF_ALL}"),
    Declared(DISABLED, "gauge", f"Disabled subscribers, whose events wait. {OF_ALL}"),
)
