"""What the records domain needs of the outside, and what it counts."""

from __future__ import annotations

from typing import Final

from daemon.bus.worker import Outside
from daemon.records.pushing import Records
from daemon.telemetry.declared import Declared

METRICS: Final[tuple[Declared, ...]] = ()


def open_records(outside: Outside) -> Records:
    """The records of this process."""
    return Records(outside)
