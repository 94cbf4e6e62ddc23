"""`/api/v1/user-mappings`: who a person is in the firm's own system."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.api.queries import PageQuery

_Id = Annotated[str, Field(min_length=1, max_length=60, coerce_numbers_to_str=True)]
_User = Annotated[str, Field(min_length=1, max_length=200)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class MappingIn(_In):
    """A person, by a phone in any notation with its country code, or by Chatwoot's contact within its account, or both.
    *notify_on_ready*: whether the user is told that something is ready; where it is left out, that stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"user_id": "u-1", "whatsapp_number": "+12025550143", "notify_on_ready": True}],
        }
    )

    user_id: _User
    whatsapp_number: Annotated[str, Field(min_length=1, max_length=60)] | None = Field(default=None, repr=False)
    chatwoot_contact_id: _Id | None = None
    chatwoot_account_id: _Id | None = None
    is_verified: bool = False
    notify_on_ready: bool | None = None


class NotifyIn(_In):
    """Whether the user is told that something is ready."""

    notify_on_ready: bool


class MappingQuery(PageQuery):
    """Which mappings."""

    user_id: Annotated[_User, Field(pattern=r"^[^\x00-\x1f\x7f]+$", description="of one user")] | None = None


class MappingOut(BaseModel):
    """A mapping. *bucket_name*: of the user's objects; null: there are none yet."""

    id: int
    user_id: str
    whatsapp_number: str | None
    chatwoot_contact_id: str | None
    chatwoot_account_id: str | None
    is_verified: bool
    bucket_name: str | None
    notify_on_ready: bool
    created_at: AwareDatetime


class MappingAdded(MappingOut):
    """The mapping. *reassigned*: notes that nobody was known for and that have a user since."""

    reassigned: int


class MappingList(BaseModel):
    """A page of mappings. *next*: the cursor of the page after it, null at the end."""

    mappings: list[MappingOut]
    next: str | None


class MappingRemoved(BaseModel):
    """The mapping is removed."""

    id: int
    deleted: Literal[True]


class NotifySet(BaseModel):
    """How the user has it from now on."""

    user_id: str
    notify_on_ready: bool
