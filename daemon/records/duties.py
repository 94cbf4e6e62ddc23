"""What the records domain does by the clock, whether or not a worker of it runs."""

from __future__ import annotations

from collections.abc import Sequence

from daemon.bus.worker import Duty, Outside
from daemon.records import stats, upkeep
from daemon.records.pushing.service import Records


def duties(outside: Outside, records: Records) -> Sequence[Duty]:
    """All of them."""
    return (upkeep.duty(outside), stats.duty(outside))
