"""The rows that one statement of record sync writes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from adapters.postgres.audit_log import Logged


class RecordRow(NamedTuple):
    """A record's new state. *expected*: the version that was read, 0 for none: the row is written only where it still
    stands. *data*, *stamps*: JSON texts."""

    model: str
    record_id: str
    expected: int
    version: int
    owner_id: str | None
    branch: str | None
    deleted: bool
    erased: bool
    data: str
    stamps: str
    up_version: int | None
    changed_at: datetime


class LedgerRow(NamedTuple):
    """What was answered to an operation."""

    user_id: str
    op_id: UUID
    replica: str
    model: str
    record_id: str
    digest: bytes
    result: str
    decision: str | None
    version: int | None


class ConflictRow(NamedTuple):
    """A row of `sync_conflicts`. *decision* None: open. *base*, *ours*, *theirs*: JSON texts. *replaces*: an open one
    that it takes the place of, while nobody has decided that."""

    user_id: str
    op_id: UUID
    operation: str
    model: str
    record_id: str
    owner_id: str | None
    base_version: int | None
    version: int | None
    base: str | None
    ours: str | None
    theirs: str | None
    fields: list[str]
    strategy: str
    decision: str | None
    replaces: int | None = None


class QueueRow(NamedTuple):
    """An operation for the upstream of this edge."""

    op_id: UUID
    operation: str
    model: str
    record_id: str
    data: str
    user_id: str
    base_version: int
    base: str | None
    changed_at: datetime
    tick: int
    origin: str


class ExitRow(NamedTuple):
    """A reader whom a record has left, as `o:OWNER` or `b:BRANCH`."""

    audience: str
    model: str
    record_id: str


class BaseRow(NamedTuple):
    """The upstream's row as this edge has it, before its first open operation. *data*, *stamps*: JSON texts; None: the
    upstream is not known to have the record."""

    model: str
    record_id: str
    up_version: int
    deleted: bool
    owner_id: str | None
    branch: str | None
    data: str | None
    stamps: str | None


class AckRow(NamedTuple):
    """What a replica sends with its next push: *ack*, or *before* where the answer with that was lost. *op_ids*: of the
    operations of this push, with commas between."""

    replica: str
    principal: str
    ack: UUID
    before: UUID | None
    op_ids: str


TYPES: Final[Mapping[type[Any], str]] = {
    LedgerRow: "text uuid text text text bytea text text bigint",
    ConflictRow: "text uuid text text text text bigint bigint text text text text text text bigint",
    ExitRow: "text text text",
    BaseRow: "text text bigint bool text text text text",
    QueueRow: "uuid text text text text text bigint text timestamptz int text",
    AckRow: "text text uuid uuid text",
    Logged: "text text text text",
}
"""The types of the columns of each kind of row."""
