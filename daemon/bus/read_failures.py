"""What the readers of a process tell of reads that fail: an outage meets all of them, and is told once."""

from __future__ import annotations

import structlog

from daemon.telemetry.failures import fields

log = structlog.get_logger(__name__)


class ReadFailures:
    """The failures that go on, each with the workers whose reads fail so."""

    def __init__(self) -> None:
        self._going_on: dict[str, set[str]] = {}

    def failed(self, worker: str, exc: BaseException) -> None:
        """A read of *worker* has failed. It is told where no worker's reads fail so already."""
        text = str(exc)
        if text not in self._going_on:
            log.warning("bus.read_failed", worker=worker, **fields(exc))
        self._going_on.setdefault(text, set()).add(worker)

    def over(self, worker: str) -> None:
        """A read of *worker* has gone well."""
        if not self._going_on:
            return
        for workers in self._going_on.values():
            workers.discard(worker)
        self._going_on = {text: workers for text, workers in self._going_on.items() if workers}
