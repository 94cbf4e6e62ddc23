"""Clients of records and what they leave in the database of their hub."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from adapters.postgres.pool import Pool
from adapters.records_client import RecordsClient

Open = Callable[..., Awaitable[RecordsClient]]
"""Opens the client of a person."""


async def synced(*clients: RecordsClient) -> None:
    """Each has made a whole round."""
    for client in clients:
        done = await client.sync()
        assert done.error is None, done


async def conflicts(db: Pool) -> list[tuple[Any, ...]]:
    """(record, fields, ours, theirs, decision) of each, the first one first."""
    rows = await db.fetch(
        "SELECT record_id, fields, ours::text, theirs::text, decision FROM sync_conflicts ORDER BY id"
    )
    return [(row[0], row[1], json.loads(row[2] or "null"), json.loads(row[3] or "null"), row[4]) for row in rows]


async def view(client: RecordsClient) -> dict[str, Any]:
    """Record id -> its fields, as the file has them."""
    found: dict[str, Any] = {}
    while page := await client.list("Lead", after=max(found, default="")):
        found |= {one.id: dict(one) for one in page}
    return found
