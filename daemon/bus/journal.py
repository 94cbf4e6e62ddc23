"""The journal worker: copies every event of every topic to Postgres, so that an event can be replayed after its stream
entry is gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from adapters.postgres.bus import journal
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.bus.workers import JOURNAL
from adapters.postgres.pool import Connection
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.worker import Worker
from schemas.envelope import TOPICS, TYPES, Event


async def handle(event: Event, deps: None, turn: Turn) -> Outcome:
    """Keep the event as it is."""
    return Done(rows=(Journaled(event, turn.entry_id),))


async def record(conn: Connection, rows: Sequence[Row]) -> None:
    """Append the events."""
    await journal.append(conn, cast("Sequence[Journaled]", rows))


WORKER: Final[Worker[None]] = Worker(
    name=JOURNAL,
    reads=TOPICS,
    types=frozenset(TYPES),
    begins="everything",
    handle=handle,
    record=record,
    lanes=lambda s: 200,
)
