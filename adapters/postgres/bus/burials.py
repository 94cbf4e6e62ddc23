"""Burials: how an event that ended without success becomes a dead letter. Operators' verbs are in `operator`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection, Pool
from schemas.envelope import Event


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that is not tried again unless an operator asks for it, and the error that ended it. *error_code*: our
    own name of it. *fingerprint*: of `schemas.fingerprints`; None: it is filled in later."""

    event: Event
    error_class: str
    error_text: str
    attempts: int
    error_code: str = ""
    fingerprint: str | None = None


_BURY: Final = """
INSERT INTO dead_letters AS d (worker, event_id, replay_id, type, source, subject, time, data, traceparent, causationid,
    schemaversion, error_class, error_text, attempts, error_code, fingerprint)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::text[],
    $9::text[], $10::text[], $11::int[], $12::text[], $13::text[], $14::int[], $15::text[], $16::text[])
ON CONFLICT (worker, event_id, replay_id) DO UPDATE
SET error_class = excluded.error_class, error_text = excluded.error_text, attempts = excluded.attempts,
    error_code = excluded.error_code, fingerprint = excluded.fingerprint,
    state = 'open', buried_at = now(), settled_at = NULL
"""
_OPEN: Final = "SELECT worker, count(*) AS n FROM dead_letters WHERE state = 'open' GROUP BY worker"


_UNPRINTED: Final = """
SELECT id, error_class, error_code, error_text FROM dead_letters WHERE fingerprint IS NULL ORDER BY id LIMIT $1
"""
_PRINT: Final = """
UPDATE dead_letters d SET fingerprint = given.fingerprint
FROM unnest($1::bigint[], $2::text[]) AS given (id, fingerprint) WHERE d.id = given.id AND d.fingerprint IS NULL
"""


class Unprinted(NamedTuple):
    """A letter without a fingerprint."""

    id: int
    error_class: str
    error_code: str
    error_text: str


async def unprinted(conn: Connection | Pool, limit: int) -> list[Unprinted]:
    """Letters that an older version buried."""
    return [Unprinted(*row) for row in await conn.fetch(_UNPRINTED, limit)]


async def fill_in(conn: Connection | Pool, fingerprints: Mapping[int, str]) -> None:
    """Give letters their fingerprints, by their ids."""
    await conn.execute(_PRINT, list(fingerprints), list(fingerprints.values()))


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
        [letter.error_code for letter in letters],
        [letter.fingerprint for letter in letters],
    )


async def open_letters(conn: Connection | Pool) -> dict[str, int]:
    """Worker -> how many of its dead letters are open; workers without any are left out."""
    return {row["worker"]: row["n"] for row in await conn.fetch(_OPEN)}
