"""Refused webhook requests, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from adapters.postgres.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRequest:
    """A request and why it was refused. *headers*: JSON text of the masked headers. *suppressed*: how many similar
    requests were refused before this one and have no row."""

    source: str
    reason: str
    status: int
    remote: str | None
    headers: str
    body_bytes: int | None
    body_sha256: str | None
    suppressed: int
    at: datetime


_INSERT: Final = """
INSERT INTO refused_requests (source, reason, status, remote, headers, body_bytes, body_sha256, suppressed, at)
SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::jsonb[], $6::bigint[], $7::text[], $8::int[],
    $9::timestamptz[])
"""


async def insert(pool: Pool, refused: Sequence[RefusedRequest]) -> None:
    """Insert *refused*."""
    await pool.execute(
        _INSERT,
        [r.source for r in refused],
        [r.reason for r in refused],
        [r.status for r in refused],
        [r.remote for r in refused],
        [r.headers for r in refused],
        [r.body_bytes for r in refused],
        [r.body_sha256 for r in refused],
        [r.suppressed for r in refused],
        [r.at for r in refused],
    )
