"""What is going on now: the events that arrive, the newest first, each with how its workers end. Everybody in a process
who looks shares one reading."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from adapters.postgres.bus.workers import Registered, listed
from adapters.postgres.operator import trail
from adapters.postgres.operator.trail import FoundEvent, WorkerEnding
from adapters.postgres.pool import Pool
from daemon.operator import masking
from daemon.operator.trail import handlers, states
from daemon.operator.workers import kept_for
from daemon.workers import WORKERS

KEPT: Final = 500
"""Rows that are kept."""

SHOWN: Final = 100
"""Rows that a page has."""

A_SECOND: Final = 50
"""Events of one second that are taken at most: nobody reads more."""

LATE: Final = 200
"""Journal numbers before the newest that are looked at again: a number may become visible after a later one."""

EVERY_S: Final = 1.0
IDLE_S: Final = 10.0
"""When nobody has looked for so long, it begins anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TailFilter:
    """Which rows. *outcome*: of *worker*, or of any worker."""

    type: str | None = None
    source: str | None = None
    worker: str | None = None
    outcome: str | None = None


@dataclass(slots=True)
class Row:
    """One event. *handled_by*: the workers that handle it."""

    event: FoundEvent
    handled_by: Sequence[str]
    endings: list[WorkerEnding] = field(default_factory=list)

    @property
    def states(self) -> dict[str, str]:
        """Worker -> how it ended, or "open"."""
        return states(self.handled_by, self.event.id, self.endings)

    @property
    def ended_at(self) -> datetime | None:
        """When the last worker ended with it; None: not all have."""
        if "open" in self.states.values():
            return None
        return max((one.at for one in self.endings if not one.replay_id), default=None)

    def fits(self, wanted: TailFilter) -> bool:
        """Whether *wanted* means it."""
        if wanted.type not in (None, self.event.type) or wanted.source not in (None, self.event.source):
            return False
        if wanted.worker is None and wanted.outcome is None:
            return True
        asked = [how for worker, how in self.states.items() if wanted.worker in (None, worker)]
        return any(wanted.outcome in (None, how) for how in asked)

    def document(self) -> dict[str, Any]:
        """As JSON, its key masked. *ms*: from its arrival until the last worker had ended."""
        took = None if self.ended_at is None else max(0.0, (self.ended_at - self.event.time).total_seconds())
        return {
            "id": self.event.id,
            "time": self.event.time,
            "source": self.event.source,
            "type": self.event.type,
            "key": masking.key(self.event.key),
            "workers": self.states,
            "ms": None if took is None else round(took * 1000),
        }


class Tail:
    """The newest events, kept while somebody looks."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = asyncio.Lock()
        self._rows: dict[int, Row] = {}
        """Journal number -> row, in the order in which they came."""

        self._number: int | None = None
        """The newest journal number at the last reading; None: there was none."""

        self._seen: set[int] = set()
        """Numbers that were read, also of what was too many."""

        self._looked = float("-inf")
        self.left_out = 0
        """How many events of the last reading were too many to be shown."""

    async def look(self) -> None:
        """Read what is new, but not more often than every EVERY_S. Raises: what the store raises."""
        async with self._lock:
            now = time.monotonic()
            since = now - self._looked
            if since < EVERY_S:
                return
            if since > IDLE_S:
                self._rows, self._seen, self._number, self.left_out = {}, set(), None, 0
            await self._read(max(1.0, since))
            self._looked = now

    def shown(self, wanted: TailFilter) -> list[dict[str, Any]]:
        """The newest SHOWN rows that fit as JSON, newest first."""
        found = [row for _, row in sorted(self._rows.items(), reverse=True) if row.fits(wanted)]
        return [row.document() for row in found[:SHOWN]]

    async def _read(self, over_s: float) -> None:
        """*over_s*: the time in which what is new has come."""
        newest, _ = await trail.newest(self._pool)
        first = self._number is None
        most = SHOWN if first else round(A_SECOND * over_s)
        came = 0 if self._number is None else newest - self._number
        after = newest - LATE - min(came, most)
        arrived = await trail.arrived(self._pool, after, LATE + most)
        fresh = [(number, one) for number, one in arrived if number not in self._seen]
        taken = fresh[-most:]
        self.left_out = 0 if first else max(came - most, len(fresh) - len(taken), 0)
        self._seen = {number for number in self._seen if number > after} | {number for number, _ in arrived}
        if taken:
            workers = kept_for(WORKERS, await listed(self._pool))
            self._rows |= {number: _row(one, workers) for number, one in taken}
        for number in sorted(self._rows)[:-KEPT]:
            del self._rows[number]
        self._number = newest
        await self._read_endings()

    async def _read_endings(self) -> None:
        open_rows: Mapping[str, Row] = {
            row.event.id: row for row in self._rows.values() if row.handled_by and row.ended_at is None
        }
        if not open_rows:
            return
        for row in open_rows.values():
            row.endings.clear()
        for one in await trail.endings(self._pool, list(open_rows)):
            open_rows[one.event_id].endings.append(one)


def _row(one: FoundEvent, workers: Sequence[Registered]) -> Row:
    return Row(one, handlers(workers, one.type, one.time))
