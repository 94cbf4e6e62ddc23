"""One record with all that is known of it, for an operator."""

from __future__ import annotations

from typing import Any, Final

from adapters.postgres.pool import Pool, Record

MOST: Final = 500
"""Operations, and conflicts, of a record that are read, the newest ones."""

_RECORD: Final = """
SELECT r.model, r.record_id, r.version, r.seq, r.owner_id, r.branch, r.deleted, r.erased, r.data::text, r.stamps,
       r.up_version, r.changed_at, r.deleted_at, r.created_at, r.updated_at, b.up_version AS base_version,
       b.data::text AS base
FROM records r LEFT JOIN sync_base b USING (model, record_id) WHERE r.model = $1 AND r.record_id = $2
"""
_OPERATIONS: Final = """
SELECT at, user_id, op_id, replica, result, decision, version FROM sync_ops
WHERE model = $1 AND record_id = $2 ORDER BY at DESC LIMIT $3
"""
_CONFLICTS: Final = """
SELECT id, created_at, user_id, op_id, fields, strategy, decision, decided_at, decided_by, version FROM sync_conflicts
WHERE model = $1 AND record_id = $2 ORDER BY id DESC LIMIT $3
"""


async def record(pool: Pool, model: str, record_id: str) -> Record | None:
    """The record as it is stored, with the upstream's row where that is kept beside it."""
    return await pool.fetchrow(_RECORD, model, record_id)


async def operations(pool: Pool, model: str, record_id: str) -> list[dict[str, Any]]:
    """What was answered to operations on it, the newest first."""
    return [_told(row) for row in await pool.fetch(_OPERATIONS, model, record_id, MOST)]


async def conflicts(pool: Pool, model: str, record_id: str) -> list[dict[str, Any]]:
    """Where values met, the newest first; without the values."""
    return [_told(row) for row in await pool.fetch(_CONFLICTS, model, record_id, MOST)]


def _told(row: Record) -> dict[str, Any]:
    """The driver's UUIDs are a kind of their own, which is not written as JSON."""
    return {**row, "op_id": str(row["op_id"])}
