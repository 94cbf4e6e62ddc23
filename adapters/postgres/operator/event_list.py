"""The journal's events page by page, by the time of their arrival. Reads only.

Each type is read by its own index, and the newest of all are taken. How workers ended is in another table, of which no
index is in this order: a filter by outcome looks through WINDOW events for one page, and the next page goes on there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from adapters.postgres.operator.keyset import TIMEOUT_S
from adapters.postgres.operator.trail import FoundEvent
from adapters.postgres.pool import Pool, Record

WINDOW: Final = 2000
"""Events that are looked through for one page."""

Place: TypeAlias = tuple[datetime, int]
"""Time and journal number of an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which events. *types*: of these types. *handles*: (worker, type) for the workers that are asked about.
    *outcome*: how one of them has ended; "open": one of them has not; None: any."""

    types: Sequence[str]
    handles: Sequence[tuple[str, str]]
    source: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Events(NamedTuple):
    """Newest first. *first*, *last*: where the look began and ended; None: nothing was seen. *full*: there may be more
    beyond, in the direction of the look."""

    rows: Sequence[FoundEvent]
    first: Place | None
    last: Place | None
    full: bool


# Subqueries of one value each, which the planner asks for each event and makes no join with the whole inbox of.
_OPEN: Final = """
coalesce((SELECT true FROM handles h WHERE h.type = w.type AND (
    SELECT true FROM inbox i WHERE i.event_id = w.id AND i.worker = h.worker AND i.replay_id = ''
      AND i.at >= (SELECT min(time) - interval '1 day' FROM seen) LIMIT 1) IS NULL LIMIT 1), false)
"""
_ENDED: Final = """
coalesce((SELECT true FROM handles h WHERE h.type = w.type AND (
    SELECT true FROM inbox i WHERE i.event_id = w.id AND i.worker = h.worker AND i.replay_id = ''
      AND i.outcome = {n} AND i.at >= (SELECT min(time) - interval '1 day' FROM seen) LIMIT 1) LIMIT 1), false)
"""


def query(wanted: Wanted, *, placed: bool, backwards: bool) -> tuple[str, list[Any]]:
    """The query, and its arguments from $3 on. $1: how many events are looked through; $2: the types."""
    given: list[Any] = []

    def n(value: Any) -> str:
        given.append(value)
        return f"${len(given) + 2}"

    conditions = ["j.type = t.type"]
    conditions += [f"j.source = {n(wanted.source)}"] if wanted.source is not None else []
    conditions += [f"j.time >= {n(wanted.since)}"] if wanted.since is not None else []
    conditions += [f"j.time < {n(wanted.until)}"] if wanted.until is not None else []
    workers, types = n([worker for worker, _ in wanted.handles]), n([type for _, type in wanted.handles])
    ends = {None: "true", "open": _OPEN}.get(wanted.outcome) or _ENDED.format(n=n(wanted.outcome))
    if placed:
        at = len(given) + 3
        conditions.append(f"(j.time, j.seq) {'>' if backwards else '<'} (${at}::timestamptz, ${at + 1}::bigint)")
    way = "ASC" if backwards else "DESC"
    where = " AND ".join(conditions)
    text = f"""
WITH handles AS MATERIALIZED (SELECT * FROM unnest({workers}::text[], {types}::text[]) AS h (worker, type)),
seen AS MATERIALIZED (
  SELECT e.* FROM unnest($2::text[]) AS t (type) CROSS JOIN LATERAL (
    SELECT j.id, j.type, j.source, j.subject, j.time, j.seq FROM event_journal j
    WHERE {where} ORDER BY j.time {way}, j.seq {way} LIMIT $1) e
  ORDER BY e.time {way}, e.seq {way} LIMIT $1)
SELECT w.*, {ends} AS fits FROM seen w ORDER BY w.time {way}, w.seq {way}
"""  # noqa: S608 - constants only
    return text, given


async def read(pool: Pool, wanted: Wanted, at: Place | None, limit: int, *, backwards: bool = False) -> Events:
    """At most *limit* events after the place *at*, or before it; None: the newest. Raises: TimeoutError beyond
    TIMEOUT_S."""
    through = limit + 1 if wanted.outcome is None else WINDOW
    text, given = query(wanted, placed=at is not None, backwards=backwards)
    seen = await pool.fetch(text, through, wanted.types, *given, *(at or ()), timeout=TIMEOUT_S)
    fitting = [row for row in seen if row["fits"]]
    taken = fitting[:limit]
    more = len(fitting) > limit
    last = taken[-1] if more else (seen[-1] if seen else None)
    rows = [_found(row) for row in (reversed(taken) if backwards else taken)]
    first_place = None if not seen else (seen[0]["time"], seen[0]["seq"])
    last_place = None if last is None else (last["time"], last["seq"])
    return Events(rows, first_place, last_place, more or len(seen) == through)


def _found(row: Record) -> FoundEvent:
    return FoundEvent(row["id"], row["type"], row["source"], row["subject"], row["time"], "journal")
