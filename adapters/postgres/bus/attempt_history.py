"""Every attempt that failed, as an operator looks back at it. `inbox` counts those of an open event."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection


class Attempt(NamedTuple):
    """An attempt that failed. *counted*: it cost the event an attempt. *error_code*: our own name of the error.
    *next_at*: when the next one was to begin; None: it was the last one."""

    event_id: str
    replay_id: str
    counted: bool
    error_class: str
    error_code: str
    error_text: str
    began_at: datetime
    ended_at: datetime
    next_at: datetime | None


_ADD: Final = """
INSERT INTO attempt_history (worker, host, event_id, replay_id, counted, error_class, error_code, error_text,
    began_at, ended_at, next_at)
SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::bool[], $6::text[], $7::text[], $8::text[],
    $9::timestamptz[], $10::timestamptz[], $11::timestamptz[])
"""


async def add(conn: Connection, worker: str, host: str, attempts: Sequence[Attempt]) -> None:
    """Insert *attempts* of *worker*, made by a process on *host*; one statement."""
    await conn.execute(_ADD, worker, host, *map(list, zip(*attempts, strict=True)))
