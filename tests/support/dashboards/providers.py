"""The dashboard *providers*: whether messages go out and come in, and what limits them."""

from __future__ import annotations

from typing import Final

from tests.support.dashboards.made import Dashboard, Panel, a_second, an_hour, highest
from tests.support.dashboards.shared import EXPIRES

MESSAGES: Final = (
    Panel(
        "Messages out",
        "Messages a second, by provider and how they ended.",
        "mps",
        a_second("ferryman_messages_total", "provider", "outcome"),
    ),
    Panel(
        "Uncertain",
        "Messages of which nobody knows whether they were sent.",
        "short",
        highest("ferryman_uncertain", "provider"),
    ),
    Panel(
        "Moved to another provider",
        "Messages an hour that the first provider of their route could not take, and which one they went to.",
        "short",
        an_hour("ferryman_messages_moved_total", "provider", "to"),
    ),
    Panel(
        "Stopped templates",
        "Templates that the provider takes no messages of for now.",
        "short",
        highest("ferryman_templates_stopped", "provider"),
    ),
)

LIMITS: Final = (
    Panel(
        "Stopped providers",
        "1 while calls to a provider are stopped, because it is away or refuses us.",
        "short",
        highest("ferryman_breaker_open", "provider"),
    ),
    Panel(
        "Rate limit",
        "Requests a second that the limit allows now. A refusal halves it, and it grows back.",
        "reqps",
        highest("ferryman_rate_limit", "provider"),
    ),
    Panel(
        "Asked to wait",
        "For how long a provider is asked nothing, because it said that we ask too often.",
        "s",
        highest("ferryman_provider_wait_seconds", "provider"),
    ),
    Panel(
        "Paused by an operator",
        "1 while it stands still on purpose.",
        "short",
        highest("ferryman_provider_paused", "provider") | highest("ferryman_worker_paused", "worker"),
    ),
    EXPIRES,
    Panel(
        "Template lists",
        "Reads of a provider's templates an hour, by how they ended.",
        "short",
        an_hour("ferryman_template_syncs_total", "provider", "outcome"),
    ),
)

CONVERSATIONS: Final = (
    Panel("Dialogs", "Dialogs an hour, by what became of them.", "short", an_hour("ferryman_dialogs_total", "outcome")),
    Panel(
        "Voice notes",
        "Transcriptions an hour, by how they ended.",
        "short",
        an_hour("ferryman_transcriptions_total", "outcome"),
    ),
    Panel(
        "Messages not understood yet",
        "What people wrote and the worker clarification has not come to.",
        "short",
        highest("ferryman_messages_buffered", legend="messages"),
    ),
    Panel(
        "Sweep",
        "How long ago Chatwoot was last looked through for messages that no webhook had brought.",
        "s",
        highest("ferryman_sweep_age_seconds", legend="age"),
    ),
    Panel(
        "Writes to the CRM",
        "Labels, attributes and notes an hour.",
        "short",
        an_hour("ferryman_crm_writes_total", "what"),
    ),
    Panel(
        "Archive",
        "Objects that wait in Postgres for the object store.",
        "short",
        highest("ferryman_archive_waiting", legend="objects"),
    ),
)

PROVIDERS: Final = Dashboard(
    "providers",
    "Ferryman: providers",
    "Whether messages go out and come in, and what limits them.",
    {"Messages": MESSAGES, "Limits": LIMITS, "Conversations": CONVERSATIONS},
)
