"""What the composition root hands to the workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from adapters.ports import ContactDirectory
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics

Clock: TypeAlias = Callable[[], datetime]
"""Tells the time, with its zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """The outside as the workers see it. A part whose system is not configured is None, and its worker is off."""

    settings: Settings
    metrics: Metrics
    now: Clock
    newest_order: Callable[[str], Awaitable[tuple[datetime, datetime, str] | None]]
    """Of the person with this E.164 phone: when the newest order was placed, when it arrived, and its id."""
    directory: ContactDirectory | None = None
