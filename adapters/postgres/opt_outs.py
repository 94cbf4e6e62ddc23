"""Who wants no messages: `opt_outs`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple, TypeAlias

from adapters.postgres.pool import Connection

Scope: TypeAlias = Literal["all", "marketing"]

_KEEP: Final = """
INSERT INTO opt_outs AS o (line, scope, opted_out, at, source, event_id) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (line, scope) DO UPDATE SET opted_out = excluded.opted_out, at = excluded.at, source = excluded.source,
  event_id = excluded.event_id
WHERE (o.at, COALESCE(o.event_id, '') COLLATE "C") < (excluded.at, COALESCE(excluded.event_id, '') COLLATE "C")
"""


class Preference(NamedTuple):
    """A person has said, at *at*, whether they want messages: no more (*opted_out*), or again. *line*: their phone
    line. *source*: what told it, by the event *event_id*."""

    line: str
    scope: Scope
    opted_out: bool
    at: datetime
    source: str
    event_id: str | None


async def keep(conn: Connection, told: Sequence[Preference]) -> None:
    """Keep what was said; of each person and scope the latest."""
    for one in sorted(told, key=lambda one: (one.line, one.scope, one.at)):
        await conn.execute(_KEEP, *one)
