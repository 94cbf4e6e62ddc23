"""What `/api/v1/sync/pull` takes and answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from schemas.records.operation import LONGEST_NAME

_Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]


class SyncPull(BaseModel):
    """Which changes. *limit* and *wait* that are larger than a page and a wait can be mean the largest."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    since: Annotated[
        str, Field(max_length=4096, description="`cursor` of the page before; none: from the beginning")
    ] = ""
    models: (
        Annotated[
            list[_Name], Field(max_length=200, description="of these models alone, as `Lead,Payment`; none: of all")
        ]
        | None
    ) = None
    limit: Annotated[int, Field(ge=1, description="changes of the page, 1000 at most")] = 1000
    wait: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False, description="seconds to wait for a change where there is none, 30 at most"),
    ] = 0
    stamps: Annotated[bool, Field(description="with the time and origin of each field")] = False

    @field_validator("models", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        """A text names them with commas between."""
        if not isinstance(given, str):
            return given
        return [name.strip() for name in given.split(",") if name.strip()] or None


class SyncChange(BaseModel):
    """*upsert*: the record as it is now. *delete*: it was deleted; *erased*: for good, so nothing of it is to be kept.
    *remove*: the reader does not read it any more, and
    drops it. *stamps*: field -> milliseconds, counter and origin of its last change. What does not apply is left
    out."""

    op: Literal["upsert", "delete", "remove"]
    model: str
    id: str
    version: int | None = None
    owner_id: str | None = None
    data: dict[str, Any] | None = None
    erased: bool | None = None
    stamps: dict[str, tuple[int, int, str]] | None = None


class SyncPulled(BaseModel):
    """*changes*: in the order of their commits; a record that changes meanwhile comes again. *cursor*: `since` of the
    next pull. *more*: the round goes on there at once. *schema*: changes with the models. *feed*: which server this
    is. *principal*: whose the token is, as `user:alice`."""

    changes: list[SyncChange]
    cursor: str
    more: bool
    server_time: AwareDatetime
    schema_: Annotated[str, Field(alias="schema")]
    feed: UUID
    principal: str
