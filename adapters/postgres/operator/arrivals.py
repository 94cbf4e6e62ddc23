"""What has come in from each webhook source, and what was refused. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from adapters.postgres.pool import Connection

NEWEST: Final = 100_000
"""Events of the journal that are looked through: it has no index by source."""

REFUSED_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Arrival:
    """*events*: of a source, among the newest NEWEST; *last*: when the last of them was recorded. *refused*: requests
    of the last REFUSED_DAYS days, *reason*: why the last of them was refused, "" for none."""

    events: int = 0
    last: datetime | None = None
    refused: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """By source; one without a row has sent nothing. *whole*: the whole journal was looked through."""

    by_source: Mapping[str, Arrival] = field(default_factory=dict)
    whole: bool = True

    def of(self, source: str) -> Arrival:
        """What has come in from *source*."""
        return self.by_source.get(source, Arrival())


_EVENTS: Final = """
SELECT source, count(*) AS events, max(recorded_at) AS last
FROM (SELECT source, recorded_at FROM event_journal ORDER BY seq DESC LIMIT $1) AS newest GROUP BY source
"""
_REFUSED: Final = """
SELECT source, sum(1 + suppressed) AS refused, (array_agg(reason ORDER BY id DESC))[1] AS reason
FROM refused_requests WHERE at > now() - make_interval(days => $1) AND source = ANY ($2) GROUP BY source
"""


async def read_arrivals(conn: Connection, sources: Sequence[str]) -> Arrivals:
    """What has come in from each of *sources*."""
    rows = {row["source"]: row for row in await conn.fetch(_EVENTS, NEWEST)}
    refused = {row["source"]: row for row in await conn.fetch(_REFUSED, REFUSED_DAYS, list(sources))}
    found = {}
    for source in sources:
        row, no = rows.get(source), refused.get(source)
        found[source] = Arrival(
            0 if row is None else row["events"],
            None if row is None else row["last"],
            0 if no is None else int(no["refused"]),
            "" if no is None else no["reason"],
        )
    return Arrivals(found, sum(row["events"] for row in rows.values()) < NEWEST)
