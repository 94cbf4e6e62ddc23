"""Payloads too large for a stream entry, kept under their event's id and digest."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from adapters.postgres.pool import Pool, store_is_down
from schemas.envelope import Event

LARGE_BYTES: Final = 64 * 1024
"""Larger payloads go over the bus as references."""

SET_ASIDE_S: Final = 1.0
"""Longest wait for a connection, and then for the insert: a sender may wait for both. Beyond it an event goes whole."""

# Rows are written in one order, because another process may store the same payloads now. A payload that is sent again
# counts as new; else it would be dropped with the day on which it first came.
_STORE: Final = """
INSERT INTO payloads (event_id, digest, data)
SELECT DISTINCT ON (1, 2) * FROM unnest($1::text[], $2::bytea[], $3::text[]) ORDER BY 1, 2
ON CONFLICT (event_id, digest) DO UPDATE SET created_at = now()
"""

_FETCH: Final = """
SELECT p.event_id, p.digest, p.data FROM payloads p
JOIN unnest($1::text[], $2::bytea[]) AS w (event_id, digest) USING (event_id, digest)
"""


async def store(pool: Pool, events: Sequence[Event]) -> list[Event]:
    """Keep the payloads of *events*; returns the events as they go over the bus, each with a reference in place of
    its data."""
    digests = [blake2b(e.data, digest_size=16).digest() for e in events]
    async with pool.acquire(timeout=SET_ASIDE_S) as conn:
        texts = [e.data.decode() for e in events]
        await conn.execute(_STORE, [e.id for e in events], digests, texts, timeout=SET_ASIDE_S)
    return [event.with_reference(digest.hex()) for event, digest in zip(events, digests, strict=True)]


async def set_aside(pool: Pool, events: Sequence[Event]) -> list[Event]:
    """*events* as they go over the bus: large ones with references, and their payloads kept here. While Postgres is
    away or slow, large events go whole, so that they are not lost."""
    large = [event for event in events if len(event.data) > LARGE_BYTES]
    if not large:
        return list(events)
    try:
        stored = iter(await store(pool, large))
    except Exception as exc:
        if not store_is_down(exc):
            raise
        return list(events)
    return [next(stored) if len(event.data) > LARGE_BYTES else event for event in events]


async def fetch(pool: Pool, references: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
    """The payloads of (event id, reference) pairs, without the pairs that have none."""
    rows = await pool.fetch(_FETCH, [r[0] for r in references], [bytes.fromhex(r[1]) for r in references])
    return {(row["event_id"], row["digest"].hex()): row["data"].encode() for row in rows}
