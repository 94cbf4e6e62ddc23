"""`/api/v1/tokens`: bearer tokens of people and of edges."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.principals import Role

_Name = Annotated[str, Field(min_length=1, max_length=100)]


class AccessTokenIn(BaseModel):
    """A token of a *user*, or of an *edge*: a branch office's daemon. *owners*, *branch*: whose records an edge
    carries; of a user, the branch that records of theirs begin with. *expires_days*: how long it holds; null: until it
    is revoked."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [
                {"user": "u-1", "role": "operate", "expires_days": 90},
                {"edge": "e-1", "owners": ["u-1", "u-2"]},
            ]
        },
    )

    user: _Name | None = None
    edge: _Name | None = None
    owners: list[_Name] = Field(default=[], max_length=1000)
    branch: _Name | None = None
    role: Role = "operate"
    expires_days: Annotated[int, Field(ge=1, le=3650)] | None = None


class AccessToken(BaseModel):
    """A token, but for itself: *hint* is the end of it. *used_at*: to the minute."""

    id: int
    kind: Literal["user", "edge"]
    name: str
    role: Role
    owners: list[str]
    branch: str | None
    hint: str
    state: Literal["active", "expired", "revoked"]
    created_at: AwareDatetime
    created_by: str
    expires_at: AwareDatetime | None
    used_at: AwareDatetime | None
    revoked_at: AwareDatetime | None
    revoked_by: str | None


class AccessTokenMade(AccessToken):
    """The token itself: it is shown this once."""

    token: str


class AccessTokens(BaseModel):
    """All tokens, also those that have ended, in the order in which they were made."""

    tokens: list[AccessToken]
