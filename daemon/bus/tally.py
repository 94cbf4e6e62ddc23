"""How a worker's events ended, as its log and its metrics tell it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from daemon.bus.lanes import Entry
from daemon.bus.settle import Finish, Retry
from daemon.telemetry.metrics import Metrics

TELL_S: Final = 60.0
"""How often a line tells how many events a worker has ended with."""

SLOW_S: Final = 10.0
"""An event that took longer from the first call of its handler to its end is told at info."""

log = structlog.get_logger(__name__)


class Tally:
    """The figures of one worker."""

    def __init__(self, worker: str, metrics: Metrics) -> None:
        self._worker = worker
        self._metrics = metrics
        self._ended: Counter[str] = Counter()

    def ended(self, batch: Sequence[tuple[Entry, Finish]]) -> None:
        """These events have ended. The ordinary end is told at debug, as the inbox has it."""
        counts: Counter[str] = Counter()
        now, debug = time.monotonic(), log.is_enabled_for(logging.DEBUG)
        for entry, verdict in batch:
            counts[verdict.outcome] += 1
            took_s = 0.0 if entry.began is None else now - entry.began
            ordinary = took_s < SLOW_S and not entry.attempts and verdict.outcome in ("done", "skipped")
            if debug or not ordinary:
                self._report(entry, verdict, took_s, log.debug if ordinary else log.info)
        self._ended += counts
        for outcome, count in counts.items():
            self._metrics.inc("ferryman_events_total", {"worker": self._worker, "outcome": outcome}, count)

    def failed(self, entry: Entry, verdict: Retry) -> None:
        """A call of the handler has failed, and there will be another."""
        self._ended["retried"] += 1
        log.warning(
            "event.retry",
            worker=self._worker,
            event_id=entry.event.id,
            attempt=entry.attempts,
            error_class=type(verdict.error).__name__,
            error=str(verdict.error),
            delay_s=round(verdict.delay_s, 2),
        )

    async def tell(self, open_events: Callable[[], int]) -> None:
        """Every minute, write a line with how many events have ended how."""
        while True:
            await asyncio.sleep(TELL_S)
            self.tell_now(open_events())

    def tell_now(self, open_events: int) -> None:
        """Write the line, where there is something to tell."""
        ended, self._ended = self._ended, Counter()
        if ended:
            log.info("worker.counted", worker=self._worker, open=open_events, **ended)

    def _report(self, entry: Entry, verdict: Finish, took_s: float, tell: Callable[..., object]) -> None:
        tell(
            "event.settled",
            worker=self._worker,
            event_id=entry.event.id,
            type=entry.event.type,
            outcome=verdict.outcome,
            reason=verdict.reason,
            attempts=entry.attempts,
            took_ms=None if entry.began is None else round(took_s * 1000, 1),
        )
