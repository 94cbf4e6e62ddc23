"""Accounting: accepted = done + skipped + dead + uncertain + open, per worker, always."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from adapters.postgres.operator import audit
from adapters.postgres.operator.audit import Sums
from adapters.postgres.pool import Pool
from daemon.bus.worker import AnyWorker


@dataclass(frozen=True, slots=True)
class Audit:
    """The sums of each worker, and what does not balance: worker -> fault -> event ids."""

    workers: Mapping[str, Sums]
    faults: Mapping[str, Mapping[str, Sequence[str]]]

    @property
    def balanced(self) -> bool:
        """Whether every accepted event ended once or is still open, for every worker."""
        return not self.faults and all(
            s.accepted == s.done + s.skipped + s.dead + s.uncertain + s.open for s in self.workers.values()
        )

    def document(self) -> dict[str, Any]:
        """As JSON."""
        document: dict[str, Any] = {
            "workers": {name: asdict(sums) for name, sums in self.workers.items()},
            "balanced": self.balanced,
        }
        if self.faults:
            document["faults"] = self.faults
        return document


async def audit_workers(pool: Pool, workers: Sequence[AnyWorker]) -> Audit:
    """Count the tables."""
    counted = {w.name: await audit.sums(pool, w.name, sorted(w.types)) for w in workers}
    faults = {w.name: found for w in workers if (found := await audit.anomalies(pool, w.name))}
    return Audit(counted, faults)
