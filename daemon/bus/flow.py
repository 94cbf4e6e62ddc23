"""Counts what goes in and out by the minute, from the metrics of this process.

A chart of the last hour from the journal and the inbox would read a million rows of a busy hour; this is a row for each
source and worker a minute. What a process had counted in its last ten seconds is lost with it: the accounts are in the
journal and the inbox.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from adapters.postgres.bus import flow
from adapters.postgres.bus.flow import Direction, Flow
from adapters.postgres.pool import Pool
from daemon.telemetry.metrics import Metrics

COUNTERS: Final[tuple[tuple[str, Direction], ...]] = (
    ("ferryman_webhooks_total", "in"),
    ("ferryman_events_total", "out"),
)
"""Counters with the labels (source or worker, outcome)."""

REMEMBERED: Final = timedelta(hours=1)
"""So long what was counted is kept for a Postgres that is away."""


def _now() -> datetime:
    return datetime.now(UTC)


class FlowTally:
    """What *metrics* have counted since the last `write`."""

    def __init__(self, pool: Pool, metrics: Metrics, now: Callable[[], datetime] = _now) -> None:
        self._pool = pool
        self._metrics = metrics
        self._now = now
        self._seen: dict[tuple[str, ...], float] = {}
        self._counts: Counter[Flow] = Counter()

    def count(self) -> None:
        """Note what the counters have grown by."""
        now = self._now()
        minute = now.replace(second=0, microsecond=0)
        for name, direction in COUNTERS:
            for (what, outcome), value in self._metrics.counts(name).items():
                grown = int(value - self._seen.get((name, what, outcome), 0.0))
                if grown:
                    self._counts[Flow(minute, direction, what, outcome)] += grown
                    self._seen[name, what, outcome] = value
        for old in [one for one in self._counts if one.minute < now - REMEMBERED]:
            del self._counts[old]

    async def write(self) -> None:
        """Add it to the table; what is not written stays for the next time."""
        self.count()
        counts, self._counts = self._counts, Counter()
        try:
            await flow.add(self._pool, counts)
        except BaseException:
            self._counts += counts
            raise
