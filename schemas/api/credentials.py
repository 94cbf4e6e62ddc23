"""`POST /api/v1/credentials`, and the same in the shape of an older program."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.credentials import DEFAULT

_Text = Annotated[str, Field(min_length=1, max_length=8192)]
_Name = Annotated[str, Field(min_length=1, max_length=60)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class CredentialsIn(_In):
    """An account at a provider. *secret*: the provider's own fields (`schemas/credentials.py`)."""

    provider: _Name
    account: _Name = DEFAULT
    secret: dict[str, Any] = Field(max_length=20, repr=False)


class TokenIn(_In):
    """The account *default*, as `schemas.credentials.secret_from_token` reads it."""

    token: _Text = Field(repr=False)
    secret: _Text | None = Field(default=None, repr=False)
    phone_number: _Text | None = Field(default=None, alias="phoneNumber", repr=False)
    provider: _Name | None = None
