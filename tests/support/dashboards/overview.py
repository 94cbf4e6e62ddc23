"""The dashboard *overview*: whether all is well, and what needs a person."""

from __future__ import annotations

from typing import Final

from tests.support.dashboards.made import Dashboard, Panel, a_second, highest, number
from tests.support.dashboards.shared import EXPIRES, LAG, OLDEST

SUCCESS: Final = (
    "sum(rate(cgb_sync_success{…}[$__rate_interval])) / sum(rate(cgb_sync_total{…}[$__rate_interval])) * 100"
)
DURATION: Final = "histogram_quantile(0.95, sum by (le) (rate(cgb_sync_duration_bucket{…}[$__rate_interval])))"
AVAILABLE: Final = (
    "sum(cgb_whatsapp_available{…}) / (sum(cgb_whatsapp_available{…}) + sum(cgb_whatsapp_unavailable{…})) * 100"
)
"""The three panels that the seed of the contact sync asks for."""

OVERVIEW: Final = Dashboard(
    "overview",
    "Ferryman: overview",
    "Whether all is well, and what needs a person.",
    {
        "Is all well?": (
            number("Processes", "Processes that answer.", "sum(up{…})", 1, down=True),
            number("Oldest event", "Of all workers.", "max(ferryman_oldest_seconds{…})", 600, unit="s"),
            number(
                "Dead letters", "Events that wait for a person.", "sum(max by (worker) (ferryman_dead_letters{…}))", 1
            ),
            number(
                "Uncertain",
                "Messages of which nobody knows whether they were sent.",
                "sum(max by (provider) (ferryman_uncertain{…}))",
                1,
            ),
            number("Spool", "Accepted events that wait for Redis.", "max(ferryman_spool{…})", 1),
            number(
                "Stopped providers",
                "Providers that are away or refuse us.",
                "sum(max by (provider) (ferryman_breaker_open{…}))",
                1,
            ),
        ),
        "Flow": (
            Panel(
                "Webhooks",
                "Requests a second, by where they come from and how they were answered.",
                "reqps",
                a_second("ferryman_webhooks_total", "source", "outcome"),
            ),
            Panel(
                "Events",
                "Events a second that ended, by worker and how.",
                "eps",
                a_second("ferryman_events_total", "worker", "outcome"),
            ),
            LAG,
            OLDEST,
        ),
        "Orders to CGB": (
            Panel("Sync success rate", "Share of the syncs that ended well.", "percent", {SUCCESS: "success"}, of=3),
            Panel("Sync duration", "95 of 100 syncs take no longer.", "s", {DURATION: "p95"}, of=3),
            Panel(
                "WhatsApp availability",
                "Share of the numbers asked about that are on WhatsApp, since the processes began.",
                "percent",
                {AVAILABLE: "on WhatsApp"},
                of=3,
            ),
            Panel(
                "Contacts",
                "Contacts written to CGB, a second.",
                "cps",
                a_second("cgb_contacts_created", legend="created") | a_second("cgb_contacts_updated", legend="updated"),
            ),
            Panel(
                "Orders without a sync",
                "How long orders have come while no sync was tried.",
                "s",
                highest("ferryman_sync_untried_seconds", legend="untried"),
            ),
        ),
        "What runs": (
            Panel(
                "Versions",
                "Processes by version of the program and of Python.",
                "short",
                {"count by (version, python) (ferryman_build_info{…})": "{{version}} on Python {{python}}"},
            ),
            Panel(
                "Configuration",
                "How the settings have each process work. Processes that differ want a look.",
                "short",
                {"ferryman_configuration_info{…}": "{{instance}}"},
                kind="table",
            ),
            EXPIRES,
            Panel(
                "Free disk",
                "Share of the disk of the data directory that is free.",
                "percentunit",
                {"min by (instance) (ferryman_disk_free_bytes{…} / ferryman_disk_size_bytes{…})": "{{instance}}"},
            ),
        ),
    },
)
