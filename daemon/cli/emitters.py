"""Where events come from, for the options that name it."""

from __future__ import annotations

from typing import Final

from adapters.registry import SOURCES
from daemon.messages.requests import CAMPAIGNS

EMITTERS: Final = (*(source.name for source in SOURCES), "ferryman", CAMPAIGNS, "bus")
"""Sources of events: those of webhooks, what handling an event emits, and what no worker could read."""
