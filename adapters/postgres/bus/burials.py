"""Burials: how an event that ended without success becomes a dead letter. Operators' verbs are in `operator`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from adapters.postgres.pool import Connection, Pool
from schemas.envelope import Event


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that is not tried again unless an operator asks for it, and the error that ended it."""

    event: Event
    error_class: str
    error_text: str
    attempts: int


_BURY: Final = """
INSERT INTO dead_letters AS d (worker, event_id, replay_id, type, source, subject, time, data, traceparent, causationid,
    schemaversion, error_class, error_text, attempts)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::text[],
    $9::text[], $10::text[], $11::int[], $12::text[], $13::text[], $14::int[])
ON CONFLICT (worker, event_id, replay_id) DO UPDATE
SET error_class = excluded.error_class, error_text = excluded.error_text, attempts = excluded.attempts,
    state = 'open', buried_at = now(), settled_at = NULL
"""
_OPEN: Final = "SELECT worker, count(*) AS n FROM dead_letters WHERE state = 'open' GROUP BY worker"


async def bury(conn: Connection, worker: str, letters: Sequence[DeadLetter]) -> None:
    """Insert *letters*. An event that was buried, retried and buried again has one row, open once more."""
    events = [letter.event for letter in letters]
    await conn.execute(
        _BURY,
        worker,
        [e.id for e in events],
        [e.replayid for e in events],
        [e.type for e in events],
        [e.source for e in events],
        [e.subject for e in events],
        [e.time for e in events],
        [e.data.decode(errors="replace").replace("\x00", "\ufffd") for e in events],
        [e.traceparent for e in events],
        [e.causationid for e in events],
        [e.schemaversion for e in events],
        [letter.error_class for letter in letters],
        [letter.error_text for letter in letters],
        [letter.attempts for letter in letters],
    )


async def open_letters(conn: Connection | Pool) -> dict[str, int]:
    """Worker -> how many of its dead letters are open; workers without any are left out."""
    return {row["worker"]: row["n"] for row in await conn.fetch(_OPEN)}
