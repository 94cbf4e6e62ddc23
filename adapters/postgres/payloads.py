"""Payloads too large for a stream entry, kept under their event's id and digest."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from adapters.postgres.pool import Pool
from schemas.envelope import Event

_STORE: Final = """
INSERT INTO payloads (event_id, digest, data) SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[])
ON CONFLICT DO NOTHING
"""

_FETCH: Final = """
SELECT p.event_id, p.digest, p.data FROM payloads p
JOIN unnest($1::text[], $2::bytea[]) AS w (event_id, digest) USING (event_id, digest)
"""


async def store(pool: Pool, events: Sequence[Event]) -> list[Event]:
    """Keep the payloads of *events*; returns the events as they go over the bus, each with a reference in place of
    its data."""
    digests = [blake2b(e.data, digest_size=16).digest() for e in events]
    await pool.execute(_STORE, [e.id for e in events], digests, [e.data.decode() for e in events])
    return [event.with_reference(digest.hex()) for event, digest in zip(events, digests, strict=True)]


async def fetch(pool: Pool, references: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
    """The payloads of (event id, reference) pairs, as far as they are there."""
    rows = await pool.fetch(_FETCH, [r[0] for r in references], [bytes.fromhex(r[1]) for r in references])
    return {(row["event_id"], row["digest"].hex()): row["data"].encode() for row in rows}
