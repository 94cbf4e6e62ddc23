"""The journal: a copy of every event that went over the bus, in day tables (`days`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from adapters.postgres.bus.events import COLUMNS, UNNEST, arrays
from adapters.postgres.pool import Connection
from schemas.envelope import Event

_APPEND: Final = (
    f"INSERT INTO event_journal ({COLUMNS}, entry_id)"  # noqa: S608 - constants only
    f" SELECT {COLUMNS}, nullif(entry_id, '') FROM {UNNEST[:-1]}, $10::text[]) AS n ({COLUMNS}, entry_id)"
)


class Journaled(NamedTuple):
    """An event, and the id of its entry on its stream; "": not known."""

    event: Event
    entry_id: str


async def append(conn: Connection, found: Sequence[Journaled]) -> None:
    """Insert *found*. The caller's inbox rows, in the same transaction, keep each event from being inserted twice."""
    await conn.execute(_APPEND, *arrays([row.event for row in found]), [row.entry_id for row in found])
