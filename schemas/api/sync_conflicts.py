"""`/api/v1/sync/conflicts`: values of records that met."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.records.operation import LONGEST_NAME, MOST_FIELDS, MOST_VERSION


class SyncConflictQuery(BaseModel):
    """Which conflicts."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    open: Annotated[bool, Field(description="those that wait for a person")] = False
    model: Annotated[str, Field(max_length=LONGEST_NAME, description="of records of one model")] | None = None
    limit: Annotated[int, Field(ge=1, le=1000, description="rows of the page")] = 100
    after: Annotated[int, Field(ge=1, le=2**63 - 1, description="`next` of the page before")] | None = None


class ConflictRecord(BaseModel):
    """A record as it stands. A deleted one has the data that it had."""

    version: int
    owner_id: str | None
    branch: str | None
    deleted: bool
    erased: bool
    changed_at: AwareDatetime
    data: dict[str, Any]


class SyncConflict(BaseModel):
    """*ours* was stored here, *theirs* came with the operation *op_id* of *user_id*; null: it was deleted, or not
    known. *base*: what the author of *theirs* had seen. *fields*: those that met. *decision*: whose value stands;
    `open`: a person decides. *decided_by*: `rule`, or who. *record*: as it stands now; null: there is none."""

    id: int
    model: str
    record_id: str
    user_id: str
    op_id: UUID
    operation: Literal["CREATE", "UPDATE", "DELETE"]
    owner_id: str | None
    base_version: int | None
    version: int | None
    base: dict[str, Any] | None
    ours: dict[str, Any] | None
    theirs: dict[str, Any] | None
    fields: list[str]
    strategy: str
    decision: Literal["ours", "theirs", "merged", "gone", "open"]
    decided_at: AwareDatetime | None
    decided_by: str | None
    created_at: AwareDatetime
    record: ConflictRecord | None


class SyncConflicts(BaseModel):
    """A page of conflicts, the newest first. *next*: the `after` of the next page; null: this is the last one."""

    conflicts: list[SyncConflict]
    next: int | None


class SyncConflictDecision(BaseModel):
    """*take*: `theirs`, `ours`, or `merge`, which writes the fields of *data*. *version*: of the record that was looked
    at; it is needed where the record has changed since the conflict arose."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={"examples": [{"take": "theirs"}, {"take": "merge", "data": {"stage": "won"}, "version": 9}]},
    )

    take: Literal["theirs", "ours", "merge"]
    data: Annotated[dict[str, Any], Field(max_length=MOST_FIELDS)] | None = None
    version: Annotated[int, Field(ge=0, le=MOST_VERSION)] | None = None
