"""What the messages domain counts and measures."""

from __future__ import annotations

from typing import Final

from daemon.accounts import OPENAI, SCOPES
from daemon.bus.metrics import OF_ALL
from daemon.telemetry.declared import Declared

METRICS: Final = (
    Declared(
        "ferryman_template_syncs_total",
        "counter",
        "Lists of templates that the clock has read, and how it ended.",
        ("provider", "outcome"),
        values={"outcome": ("done", "failed")},
    ),
    Declared(
        "ferryman_messages_total",
        "counter",
        "Messages to people that outbound-messaging has ended with. What becomes of a dead letter is not counted.",
        ("provider", "outcome"),
        values={"outcome": ("sent", "skipped", "failed", "uncertain")},
    ),
    Declared(
        "ferryman_messages_moved_total",
        "counter",
        "Messages that went from one provider to the next one of their route, as the first could not take them.",
        ("provider", "to"),
        values={"to": tuple(name for name in SCOPES if name != OPENAI)},
    ),
    Declared(
        "ferryman_templates_stopped",
        "gauge",
        f"Templates that the provider takes no messages of for now; their messages wait. {OF_ALL}",
        ("provider",),
    ),
    Declared(
        "ferryman_rate_limit",
        "gauge",
        "Requests a second that the provider's rate limit allows now: a refusal halves it, and it grows back."
        f" {OF_ALL}",
        ("provider",),
    ),
)
