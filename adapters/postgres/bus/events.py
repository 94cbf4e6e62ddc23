"""The columns that every table of whole events shares, as arrays for `unnest` and back as events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.postgres.pool import Record
from schemas.envelope import Event

COLUMNS: Final = "id, type, source, subject, time, data, traceparent, causationid, schemaversion"
UNNEST: Final = (
    "unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[],"
    " $9::int[])"
)


def arrays(events: Sequence[Event]) -> tuple[list[Any], ...]:
    """The nine arrays that UNNEST takes, in the order of COLUMNS."""
    return (
        [e.id for e in events],
        [e.type for e in events],
        [e.source for e in events],
        [e.subject for e in events],
        [e.time for e in events],
        [e.data.decode() for e in events],
        [e.traceparent for e in events],
        [e.causationid for e in events],
        [e.schemaversion for e in events],
    )


def event_of(row: Record) -> Event:
    """The event of a row that holds COLUMNS; its *replayid* and *target* too, where the row has them."""
    return Event(
        id=row["id"],
        type=row["type"],
        source=row["source"],
        subject=row["subject"],
        time=row["time"],
        data=row["data"].encode(),
        traceparent=row["traceparent"],
        causationid=row["causationid"],
        schemaversion=row["schemaversion"],
        replayid=row.get("replayid", ""),
        target=row.get("target", ""),
    )
