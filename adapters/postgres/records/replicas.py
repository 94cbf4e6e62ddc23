"""Replicas: whose each is, and when it has pushed last."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.pool import Pool

_LISTED: Final = """
SELECT replica, principal, pushed_at, created_at FROM sync_replicas
ORDER BY pushed_at DESC NULLS LAST, replica LIMIT $1
"""
_FIND: Final = "SELECT replica, principal, pushed_at, created_at FROM sync_replicas WHERE replica = $1"
_FORGET: Final = """
WITH gone AS (DELETE FROM sync_replicas WHERE replica = $1 RETURNING replica, principal)
INSERT INTO audit_log (actor, action, subject, detail)
SELECT $2, 'replica.forgotten', 'replica:' || replica, jsonb_build_object('principal', principal) FROM gone
RETURNING id
"""


class Replica(NamedTuple):
    """*principal*: whose it is, as `user:alice`. *created_at*: when it has pushed first."""

    replica: str
    principal: str
    pushed_at: datetime | None
    created_at: datetime


async def listed(pool: Pool, limit: int) -> list[Replica]:
    """At most *limit* of them, those that have pushed last first."""
    return [Replica(*row) for row in await pool.fetch(_LISTED, limit)]


async def find(pool: Pool, replica: str) -> Replica | None:
    """The one of this name."""
    row = await pool.fetchrow(_FIND, replica)
    return None if row is None else Replica(*row)


async def forget(pool: Pool, replica: str, by: str) -> bool:
    """Forget whose the *replica* is; whether there was one. *by*: the person, for the audit log."""
    return await pool.fetchval(_FORGET, replica, by) is not None
