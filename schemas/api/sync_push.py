"""What `/api/v1/sync/push` takes and answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, SkipValidation

from schemas.records.operation import LONGEST_ID, LONGEST_NAME, MOST_VERSION


def _text(given: Any) -> Any:
    """A number would be read as seconds since 1970: a clock that is off by decades, and every edit with it."""
    if not isinstance(given, str):
        raise ValueError("must be a text as 2026-11-27T10:00:00Z")
    return given


_Replica = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=r"^[!-~]+$")]


class OperationIn(BaseModel):
    """What was done to a record. *op_id*: made once for this operation. *base_version*: the record's version that its
    author saw, 0: none. *base*: what they saw in the fields of *data*. *changed_at*: when, by the clock of the device;
    *tick* orders operations of one millisecond. *origin*, *user_id*: of an edge, the device and the person."""

    op_id: UUID
    operation: Literal["CREATE", "UPDATE", "DELETE"]
    model: Annotated[str, Field(max_length=LONGEST_NAME)]
    record_id: Annotated[str, Field(max_length=LONGEST_ID)]
    data: dict[str, Any] = {}
    base_version: Annotated[int, Field(ge=0, le=MOST_VERSION)] | None = None
    base: dict[str, Any] | None = None
    changed_at: AwareDatetime | None = None
    tick: Annotated[int, Field(ge=0)] = 0
    origin: str | None = None
    user_id: str | None = None


class SyncPush(BaseModel):
    """The operations of a replica, each answered by itself. *replica*: its name, which belongs to its token's owner
    from then on. *ack*: of the answer that it has had last. *sent_at*: its clock now. *cursor*: up to which it has
    pulled. *via*: feeds of the servers that the operations have come through."""

    model_config = ConfigDict(extra="forbid")

    replica: _Replica | None = None
    ack: Annotated[str, Field(max_length=LONGEST_ID)] | None = None
    sent_at: Annotated[AwareDatetime, BeforeValidator(_text)] | None = None
    cursor: Annotated[str, Field(max_length=4096)] | None = None
    via: Annotated[list[Annotated[str, Field(max_length=LONGEST_ID)]], Field(max_length=20)] = []
    operations: list[SkipValidation[OperationIn]]


class PushedRecord(BaseModel):
    """A record as it stands at the server."""

    model_config = ConfigDict(extra="allow")

    data: dict[str, Any] | None = None


class PushedResult(BaseModel):
    """What became of an operation. *version*: of the record after it. *first*: of a duplicate, what it was answered the
    first time. *decision*: whose value stands after a conflict; `open`: a person decides. *reason*, *detail*: why it
    was rejected; *retry*: whether it may be sent again as it is. *record*: as it stands, where the replica would not
    guess that. What does not apply is left out."""

    op_id: str | None = None
    result: Literal["applied", "duplicate", "conflict", "rejected"]
    version: int | None = None
    first: Literal["applied", "conflict"] | None = None
    decision: Literal["ours", "theirs", "merged", "gone", "open"] | None = None
    conflict_id: int | None = None
    reason: str | None = None
    detail: str | None = None
    retry: bool | None = None
    record: PushedRecord | None = None


class SyncPushed(BaseModel):
    """*results*: in the order of the operations. *ack*: what goes with the next push; null without a replica. *feed*:
    which server this is. *principal*: whose the token is, as `user:alice`. *provisional*: it is an edge: its upstream
    may correct what was applied."""

    ack: str | None
    server_time: AwareDatetime
    feed: str
    principal: str
    results: list[PushedResult]
    provisional: bool | None = None
