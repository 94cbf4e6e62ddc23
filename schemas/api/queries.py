"""What may stand behind the `?` of a path of the HTTP API."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.api.campaigns import RecipientStatus
from schemas.api.messages import Provider
from schemas.api.moments import QueryMoment
from schemas.credentials import ACCOUNT
from schemas.messages import Status

MOST_LISTED: Final = 200
"""Rows of one page."""


class PageQuery(BaseModel):
    """A page of a list. A name that is not here is refused: a filter that is misspelled would find everything."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    limit: Annotated[int, Field(ge=1, le=MOST_LISTED, description="rows of the page")] = 50
    cursor: Annotated[str, Field(max_length=200, description="`next` of the page before")] | None = None


class MessageQuery(PageQuery):
    """Which messages."""

    to: Annotated[str, Field(min_length=1, max_length=60, description="of one phone, in any notation")] | None = None
    status: Status | Literal["received"] | None = None
    provider: Provider | None = None
    direction: Literal["out", "in"] | None = None
    purpose: (
        Annotated[str, Field(pattern=r"^[\w .:/-]{1,200}$", description="who asked for it, as `api` or `cli`")] | None
    ) = None
    since: Annotated[QueryMoment, Field(description="made at that time or later; UTC without an offset")] | None = None
    until: Annotated[QueryMoment, Field(description="made before that time; UTC without an offset")] | None = None


class ReadQuery(BaseModel):
    """How a message is marked as read."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    account: (
        Annotated[
            str, Field(pattern=f"^(?:{ACCOUNT.pattern})$", description="by which account, where none is told by itself")
        ]
        | None
    ) = None


class TemplateQuery(PageQuery):
    """Which templates."""

    cursor: Annotated[str, Field(max_length=4000, description="`next` of the page before")] | None = None
    provider: Provider | None = None
    status: (
        Annotated[str, Field(pattern=r"^\w{1,60}$", description="in the provider's words, as `approved`")] | None
    ) = None
    name: Annotated[str, Field(pattern=r"^[^\x00]{1,512}$", description="the whole name")] | None = None


class RecipientQuery(PageQuery):
    """Which recipients of a campaign."""

    limit: Annotated[int, Field(ge=1, le=1000, description="rows of the page")] = 50
    cursor: Annotated[str, Field(pattern="^[0-9]{1,9}$", description="`next` of the page before")] | None = None
    status: RecipientStatus | None = None
