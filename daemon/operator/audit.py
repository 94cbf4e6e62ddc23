"""Accounting: accepted = done + skipped + dead + uncertain + open, per worker, always."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from adapters.postgres.bus import workers
from adapters.postgres.operator import audit
from adapters.postgres.operator.audit import Sums
from adapters.postgres.pool import Pool
from daemon.bus.unattended import WARN_S


@dataclass(frozen=True, slots=True)
class Audit:
    """The sums of each worker; what does not balance: worker -> fault -> event ids; and the workers with open work that
    no process has run for an hour: worker -> seconds."""

    workers: Mapping[str, Sums]
    faults: Mapping[str, Mapping[str, Sequence[str]]]
    unattended: Mapping[str, int] = field(default_factory=dict)

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
        if self.unattended:
            document["unattended"] = self.unattended
        return document


async def audit_workers(pool: Pool) -> Audit:
    """Count the tables, for every worker of the installation."""
    every = await workers.listed(pool)
    counted = {w.name: await audit.sums(pool, w) for w in every}
    faults = {w.name: found for w in every if (found := await audit.anomalies(pool, w.name))}
    waits = {w.name: round(w.unseen_s) for w in every if w.unseen_s > WARN_S and counted[w.name].open}
    return Audit(counted, faults, waits)
