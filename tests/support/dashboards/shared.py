"""Panels that stand on several dashboards."""

from __future__ import annotations

from typing import Final

from tests.support.dashboards.made import Panel, highest, lowest

LAG: Final = Panel(
    "Lag",
    "Events that a worker has not settled, read or not. One that only grows needs more processes or a higher limit.",
    "short",
    highest("ferryman_lag", "worker"),
)
OLDEST: Final = Panel(
    "Oldest event",
    "How long a worker's oldest event has waited, read or not.",
    "s",
    highest("ferryman_oldest_seconds", "worker"),
)
EXPIRES: Final = Panel(
    "Ends soon",
    "Time until a certificate or a token ends. -1: not known, or it does not end.",
    "s",
    lowest("ferryman_expires_seconds", "what"),
)
