"""Requests that Postgres did not serve, told to the operator. The watcher's own looks may succeed all the while: on a
full disk reads go on, and writes do not."""

from __future__ import annotations

import structlog

from daemon.telemetry.failures import fields
from daemon.telemetry.seldom import Seldom

log = structlog.get_logger(__name__)


class Outages:
    """Counts requests that were answered 503, and logs why."""

    def __init__(self) -> None:
        self._seldom = Seldom()
        self._untold = 0

    def met(self, exc: BaseException) -> None:
        """A request met *exc*, an error of Postgres."""
        self._untold += 1
        if self._seldom.due():
            log.error("api.unanswered", requests=self._untold, **fields(exc))
            self._untold = 0
