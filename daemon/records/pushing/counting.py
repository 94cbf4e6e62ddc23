"""What pushes are counted by."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, get_args

from daemon.records.state import Conflict
from daemon.telemetry.declared import Declared
from daemon.telemetry.metrics import Metrics
from schemas.records.answers import REASONS, Answer, Decision, Result

OPERATIONS: Final = "ferryman_sync_operations_total"
REJECTED: Final = "ferryman_sync_rejected_total"
CONFLICTS: Final = "ferryman_sync_conflicts_total"
PARALLEL: Final = "ferryman_sync_parallel_total"
RETRIES: Final = "ferryman_sync_cas_retries_total"
SKEW: Final = "ferryman_sync_clock_skew_seconds"

STRATEGIES: Final = (
    *("newest", "server", "client", "merge", "manual", "max", "min", "union"),
    *("update-wins", "delete-wins"),
)

METRICS: Final = (
    Declared(
        OPERATIONS,
        "counter",
        "Operations on records that were answered here, by how.",
        ("result",),
        values={"result": get_args(Result)},
    ),
    Declared(
        REJECTED,
        "counter",
        "Operations on records that were rejected here, by why.",
        ("reason",),
        values={"reason": REASONS},
    ),
    Declared(
        CONFLICTS,
        "counter",
        "Values of records that met here, by the rule and by whose stands; open: a person decides.",
        ("strategy", "decision"),
        values={"strategy": STRATEGIES, "decision": get_args(Decision)},
    ),
    Declared(PARALLEL, "counter", "Operations that went past changes of other fields without meeting them."),
    Declared(
        RETRIES, "counter", "Operations that were decided anew, as others have changed their record at the same time."
    ),
    Declared(
        SKEW,
        "histogram",
        "How far the clocks of replicas are from ours, as their pushes tell.",
        buckets=(1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 7200.0, 21600.0, 43200.0, 86400.0, 90000.0),
    ),
)


class Counting:
    """Counts in *metrics*."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def answered(self, answers: Iterable[Answer]) -> None:
        """Count the answers to a push."""
        by_result: dict[str, int] = {}
        for answer in answers:
            by_result[answer.result] = by_result.get(answer.result, 0) + 1
            if answer.reason is not None:
                self._metrics.inc(REJECTED, {"reason": answer.reason})
        for result, n in by_result.items():
            self._metrics.inc(OPERATIONS, {"result": result}, n)

    def met(self, conflict: Conflict) -> None:
        """Count values that met."""
        self._metrics.inc(CONFLICTS, {"strategy": conflict.strategy, "decision": conflict.decision})

    def beside(self, operations: int) -> None:
        """Count operations that went past changes of other fields."""
        self._metrics.inc(PARALLEL, n=operations)

    def again(self, operations: int) -> None:
        """Count operations that are decided anew."""
        self._metrics.inc(RETRIES, n=operations)

    def clock(self, sent_at: datetime | None, now: datetime) -> None:
        """Count how far a replica's clock is off, which has sent its push at *sent_at*."""
        if sent_at is not None:
            self._metrics.observe(SKEW, abs((now - sent_at).total_seconds()))
