"""Whether this process can accept webhooks now: the document of /readyz."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from daemon.bus.intake import Intake
from daemon.bus.leases import Leases
from daemon.stores.health import Stores, StoreWatch


class Readiness:
    """Asks the watchers of the stores, the intake and the leases. *workers*: the names of those that run here."""

    def __init__(self, stores: Stores, intake: Intake, leases: Leases, workers: Sequence[str]) -> None:
        self._stores = stores
        self._intake = intake
        self._leases = leases
        self._workers = workers
        self._stopping = False

    def stop(self) -> None:
        """From now on the process is not ready: it accepts no new request."""
        self._stopping = True

    def ready(self) -> dict[str, Any]:
        """The document of /readyz. *leases*: the partitions that this process may read, by worker."""
        accepting = "no" if self._stopping else self._intake.accepting
        return {
            "ready": accepting != "no",
            "redis": _word(self._stores.redis),
            "postgres": _word(self._stores.postgres),
            "accepting": accepting,
            "leases": {worker: sorted(self._leases.readable(worker)) for worker in self._workers},
        }


def _word(store: StoreWatch) -> Literal["up", "down"]:
    return "up" if store.up else "down"
