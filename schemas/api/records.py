"""`/api/v1/records`: records for apps that are online."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

MOST_LISTED: Final = 1000


class RecordIn(BaseModel):
    """The fields of a record, as its model in `models.toml` has them; or the document that a GET gives, of which *data*
    counts."""

    model_config = ConfigDict(
        extra="allow",
        hide_input_in_errors=True,
        json_schema_extra={"examples": [{"name": "Noa", "stage": "new", "tags": ["fair"]}]},
    )

    data: Annotated[Any, Field(description="of the document that a GET gives")] = None


class RecordOut(BaseModel):
    """A record. *version*: also its ETag, which goes back as `If-Match`. *data*: its fields. *changed_at*: when its
    author has changed it last."""

    model: str
    id: str
    version: int
    owner_id: str | None
    branch: str | None
    deleted: bool
    data: dict[str, Any]
    changed_at: AwareDatetime


class RecordPage(BaseModel):
    """Records in the order of their last change. *next*: what *after* is for the next page; null: there is none. A page
    may have few records, or none, and a next one all the same: it looks at a limited number."""

    records: list[RecordOut]
    next: str | None


class RecordQuery(BaseModel):
    """A page of a list. Any other name is a field of the model, with what it must be; empty: it has no value."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    limit: Annotated[int, Field(ge=1, le=MOST_LISTED, description="rows of the page")] = 100
    after: Annotated[str, Field(pattern="^[0-9]{1,18}$", description="`next` of the page before")] | None = None
