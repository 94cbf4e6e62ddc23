"""The journal: a copy of every event that went over the bus, in day tables (`days`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.postgres.bus.events import COLUMNS, UNNEST, arrays
from adapters.postgres.pool import Connection
from schemas.envelope import Event

_APPEND: Final = f"INSERT INTO event_journal ({COLUMNS}) SELECT * FROM {UNNEST}"  # noqa: S608 - constants only


async def append(conn: Connection, events: Sequence[Event]) -> None:
    """Insert *events*. The caller's inbox rows, in the same transaction, keep each event from being inserted twice."""
    await conn.execute(_APPEND, *arrays(events))
