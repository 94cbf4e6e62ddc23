"""Records as rows, and rows as records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from adapters.postgres.records.reading import StoredRow
from adapters.postgres.records.rows import BaseRow, ExitRow, LedgerRow, QueueRow, RecordRow
from daemon.records.pushing.batch import Item
from daemon.records.state import Effect, Stored
from schemas.envelope import Event, event_id
from schemas.principals import audiences_of
from schemas.records.answers import Answer
from schemas.records.operation import Key
from schemas.records.stamps import dumped, loaded

SOURCE: Final = "records"
"""The source of the events that tell of records."""


def stored_of(key: Key, row: StoredRow) -> Stored:
    """The record *key* of a row."""
    return Stored(
        model=key[0],
        record_id=key[1],
        version=row.version,
        owner_id=row.owner_id,
        branch=row.branch,
        data=orjson.loads(row.data),
        stamps=loaded(row.stamps),
        changed_at=row.changed_at,
        deleted=row.deleted,
        erased=row.erased,
        up_version=row.up_version,
    )


def record_row(before: Stored | None, stored: Stored) -> RecordRow:
    """The row of *stored*, which was *before*."""
    return RecordRow(
        model=stored.model,
        record_id=stored.record_id,
        expected=0 if before is None else before.version,
        version=stored.version,
        owner_id=stored.owner_id,
        branch=stored.branch,
        deleted=stored.deleted,
        erased=stored.erased,
        data=_text(stored.data),
        stamps=dumped(stored.stamps),
        up_version=stored.up_version,
        changed_at=stored.changed_at,
    )


def ledger_row(item: Item, answer: Answer) -> LedgerRow:
    """What the ledger keeps of *item*, which is answered so."""
    operation = item.operation
    return LedgerRow(
        user_id=item.ledger_user,
        op_id=operation.op_id,
        replica=item.author.peer,
        model=operation.model,
        record_id=operation.record_id,
        digest=item.digest,
        result=answer.result,
        decision=answer.decision,
        version=answer.version,
    )


def exits_of(before: Stored | None, stored: Stored) -> list[ExitRow]:
    """The readers whom the record has left. A tombstone has readers too: they may still hold what it was."""
    if before is None or (before.owner_id, before.branch) == (stored.owner_id, stored.branch):
        return []
    gone = audiences_of(before.owner_id, before.branch) - audiences_of(stored.owner_id, stored.branch)
    return [ExitRow(audience, stored.model, stored.record_id) for audience in sorted(gone)]


def queue_row(item: Item, effect: Effect, stored: Stored | None) -> QueueRow:
    """What the upstream is told: the *effect* of *item* on a record that was *stored* here."""
    operation = item.operation
    return QueueRow(
        op_id=operation.op_id,
        operation=effect.operation,
        model=operation.model,
        record_id=operation.record_id,
        data=_text(effect.data),
        user_id=item.author.user,
        base_version=0 if stored is None or stored.up_version is None else stored.up_version,
        base=None if operation.base is None else _text(operation.base),
        changed_at=item.at or item.push.arrived,
        tick=operation.tick,
        origin=item.author.origin,
    )


def base_row(key: Key, before: Stored | None) -> BaseRow:
    """The upstream's row, as it is here before the first operation that the upstream does not know."""
    if before is None or before.up_version is None:
        return BaseRow(*key, 0, True, None, None, None, None)
    owner, branch = before.owner_id, before.branch
    return BaseRow(*key, before.up_version, before.deleted, owner, branch, _text(before.data), dumped(before.stamps))


def event_of(stored: Stored, changing: Sequence[Item], fields: Iterable[str], now: datetime) -> Event:
    """What tells the workers that the record was changed in *fields*; it says nothing of what the record holds."""
    op_ids = [item.operation.id for item in changing]
    origin = changing[-1].author.origin
    return changed(stored.key, stored.version, fields, origin, now, deleted=stored.deleted, op_ids=op_ids)


def changed(
    key: Key,
    version: int,
    fields: Iterable[str],
    origin: str,
    now: datetime,
    *,
    deleted: bool,
    op_ids: Sequence[str] = (),
) -> Event:
    """`record.changed`: the record *key* is at *version* now. *fields*: what was changed. *op_ids*: by which
    operations. *origin*: where the last of them was written, or who has changed it without one."""
    model, id = key
    data = {
        "model": model,
        "id": id,
        "version": version,
        "fields": sorted(fields),
        "origin": origin,
        "deleted": deleted,
        "op_ids": op_ids,
    }
    return Event(
        id=event_id(SOURCE, model, id, str(version), op_ids[-1] if op_ids else origin),
        type="record.changed",
        source=SOURCE,
        subject=f"{model}:{id}",
        time=now,
        data=orjson.dumps(data),
    )


def _text(values: Mapping[str, Any]) -> str:
    return orjson.dumps(values if type(values) is dict else dict(values)).decode()
