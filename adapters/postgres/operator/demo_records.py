"""What the demonstration of offline work reads from the tables to check its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from adapters.postgres.pool import Pool


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """A record as a daemon has it."""

    version: int
    deleted: bool
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KeptConflict:
    """Values that met. *decision*: None: it waits for a person. *by*: who has decided it, `rule` or a person."""

    id: int
    record_id: str
    fields: Sequence[str]
    strategy: str
    ours: Mapping[str, Any] | None
    theirs: Mapping[str, Any] | None
    decision: str | None
    by: str | None


@dataclass(frozen=True, slots=True)
class QueuedOperation:
    """An operation of an edge for its upstream. *reason*: why the upstream has refused it."""

    record_id: str
    operation: str
    state: str
    reason: str | None


async def kept(pool: Pool, ids: Sequence[str]) -> dict[str, KeptRecord]:
    """Record id -> the record, for those of *ids* that are there, tombstones included."""
    rows = await pool.fetch(
        "SELECT record_id, version, deleted, data::text FROM records WHERE record_id = ANY($1)", ids
    )
    return {row["record_id"]: KeptRecord(row["version"], row["deleted"], orjson.loads(row["data"])) for row in rows}


async def conflicts(pool: Pool, ids: Sequence[str]) -> list[KeptConflict]:
    """The conflicts about *ids*, in the order in which they arose."""
    rows = await pool.fetch(
        "SELECT id, record_id, fields, strategy, ours::text, theirs::text, decision, decided_by FROM sync_conflicts"
        " WHERE record_id = ANY($1) ORDER BY id",
        ids,
    )
    return [
        KeptConflict(
            id=row["id"],
            record_id=row["record_id"],
            fields=row["fields"],
            strategy=row["strategy"],
            ours=_json(row["ours"]),
            theirs=_json(row["theirs"]),
            decision=row["decision"],
            by=row["decided_by"],
        )
        for row in rows
    ]


async def operations(pool: Pool, ids: Sequence[str]) -> int:
    """How many operations on *ids* the ledger holds."""
    return int(await pool.fetchval("SELECT count(*) FROM sync_ops WHERE record_id = ANY($1)", ids))


async def queued(pool: Pool, ids: Sequence[str]) -> list[QueuedOperation]:
    """What an edge has queued about *ids*, the oldest first."""
    rows = await pool.fetch(
        "SELECT record_id, operation, state, reason FROM sync_queue WHERE record_id = ANY($1) ORDER BY id", ids
    )
    return [QueuedOperation(row["record_id"], row["operation"], row["state"], row["reason"]) for row in rows]


def _json(text: str | None) -> Mapping[str, Any] | None:
    return None if text is None else orjson.loads(text)
