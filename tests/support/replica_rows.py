"""Records and operations of replicas in memory, as rows and as what is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import orjson

from adapters.postgres.records.pulled import OpRow, ThereRow
from adapters.postgres.records.reading import StoredRow
from daemon.records.state import Stored
from schemas.records.operation import Key, Operation, Verb
from schemas.records.stamps import dumped


def raw_of(op: Operation, *, with_user: bool = False) -> bytes:
    """An operation as it is sent."""
    said: dict[str, Any] = {
        "op_id": str(op.op_id),
        "operation": op.operation,
        "model": op.model,
        "record_id": op.record_id,
        "data": op.data,
        "base_version": op.base_version,
        "changed_at": None if op.changed_at is None else op.changed_at.isoformat(),
        "tick": op.tick,
    }
    if with_user:
        said |= {"origin": op.origin, "user_id": op.user_id}
    return orjson.dumps(said)


def queued(key: Key, op: OpRow) -> Operation:
    return Operation(
        op_id=op.op_id,
        operation=cast(Verb, op.operation),
        model=key[0],
        record_id=key[1],
        data=orjson.loads(op.data or "{}"),
        base_version=op.base_version,
        changed_at=op.changed_at,
        tick=op.tick,
        origin=op.origin,
        user_id=op.user_id,
    )


def here_of(stored: Stored | None) -> StoredRow | None:
    if stored is None:
        return None
    return StoredRow(
        version=stored.version,
        owner_id=stored.owner_id,
        branch=stored.branch,
        deleted=stored.deleted,
        erased=stored.erased,
        data=orjson.dumps(dict(stored.data)).decode(),
        stamps=dumped(stored.stamps),
        changed_at=stored.changed_at,
        up_version=stored.up_version,
    )


def there_of(before: Stored | None) -> ThereRow:
    here = here_of(before)
    if here is None or here.up_version is None:
        return ThereRow(0, True, None, None, None, None)
    return ThereRow(here.up_version, here.deleted, here.owner_id, here.branch, here.data, here.stamps)


def without_foreign(stored: Stored) -> Stored:
    return replace(stored, stamps={name: stamp._replace(foreign=0) for name, stamp in stored.stamps.items()})
