"""Refused webhook requests, each with its reason; whole, and to be sent again, where the sender was proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from adapters.postgres.pool import Connection, Pool, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRequest:
    """A request and why it was refused. *headers*: JSON text of the masked headers. *path*: of a request to a path or
    by a method that is not served. *body*: whole, of a proven sender. *suppressed*: how many similar requests were
    refused before this one and have no row."""

    source: str
    reason: str
    status: int
    remote: str | None
    headers: str
    body_bytes: int | None
    body_sha256: str | None
    suppressed: int
    at: datetime
    path: str | None = None
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A row, with its *id*. *sent_again_at*, *sent_again_by*, *event_ids*: None until an operator sends it again."""

    id: int
    request: RefusedRequest
    sent_again_at: datetime | None
    sent_again_by: str | None
    event_ids: tuple[str, ...] | None


_INSERT: Final = """
INSERT INTO refused_requests (source, reason, status, remote, headers, body_bytes, body_sha256, suppressed, at,
    path, body)
SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::jsonb[], $6::bigint[], $7::text[], $8::int[],
    $9::timestamptz[], $10::text[], $11::bytea[])
"""

_COLUMNS: Final = (
    "id, source, reason, status, remote, headers::text AS headers, body_bytes, body_sha256, suppressed, at, path,"
    " sent_again_at, sent_again_by, event_ids"
)
_NEWEST: Final = f"""
SELECT {_COLUMNS}, NULL::bytea AS body FROM refused_requests
WHERE NOT $2 OR (body IS NOT NULL AND sent_again_at IS NULL) ORDER BY id DESC LIMIT $1
"""  # noqa: S608 - constants only
_ONE: Final = f"SELECT {_COLUMNS}, body FROM refused_requests WHERE id = $1"  # noqa: S608 - constants only
_SENT_AGAIN: Final = """
UPDATE refused_requests SET sent_again_at = now(), sent_again_by = $2, event_ids = $3
WHERE id = $1 AND body IS NOT NULL AND sent_again_at IS NULL RETURNING id
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
        [r.path for r in refused],
        [r.body for r in refused],
    )


async def newest(pool: Pool, limit: int, *, to_send: bool) -> list[KeptRequest]:
    """The *limit* newest rows, without bodies. *to_send*: only those that are kept whole and not sent again yet."""
    return [_kept(row) for row in await pool.fetch(_NEWEST, limit, to_send)]


async def find(pool: Pool, number: int) -> KeptRequest | None:
    """The row with this number, with its body."""
    row = await pool.fetchrow(_ONE, number)
    return None if row is None else _kept(row)


async def sent_again(conn: Connection, number: int, operator: str, event_ids: Sequence[str]) -> bool:
    """Note that the row became the events *event_ids*; false when another operator was first."""
    return await conn.fetchval(_SENT_AGAIN, number, operator, list(event_ids)) is not None


def _kept(row: Record) -> KeptRequest:
    request = RefusedRequest(
        source=row["source"],
        reason=row["reason"],
        status=row["status"],
        remote=row["remote"],
        headers=row["headers"],
        body_bytes=row["body_bytes"],
        body_sha256=row["body_sha256"],
        suppressed=row["suppressed"],
        at=row["at"],
        path=row["path"],
        body=row["body"],
    )
    ids = row["event_ids"]
    return KeptRequest(
        row["id"], request, row["sent_again_at"], row["sent_again_by"], None if ids is None else tuple(ids)
    )
