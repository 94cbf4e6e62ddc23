"""`POST /api/v1/credentials`, and the same in the shape of an older program."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from schemas.credentials import DEFAULT, SECRETS, fields_of

_Text = Annotated[str, Field(min_length=1, max_length=8192)]
_Name = Annotated[str, Field(min_length=1, max_length=60)]


_FIELDS: Final = "; ".join(
    f"{provider}: "
    + ", ".join(name if needed else f"{name} (optional)" for name, needed in fields_of(provider).items())
    for provider in SECRETS
)


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class CredentialsIn(_In):
    """An account at a provider. *secret*: the provider's own fields."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "provider": "meta",
                    "account": "second",
                    "secret": {"access_token": "ACCESS_TOKEN", "phone_number_id": "PHONE_NUMBER_ID"},
                },
            ]
        }
    )

    provider: _Name
    account: _Name = DEFAULT
    secret: dict[str, Any] = Field(max_length=20, repr=False, description=_FIELDS)


class TokenIn(_In):
    """The account *default*. Its parts stand apart, or all in *token*: SID:AUTH_TOKEN:NUMBER:twilio, or
    ACCESS_TOKEN:NUMBER_ID:whatsapp-business-api, or the token of a Whapi channel."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"token": "ACCOUNT_SID", "secret": "AUTH_TOKEN", "phoneNumber": "+15550001234", "provider": "twilio"},
            ]
        }
    )

    token: _Text = Field(repr=False)
    secret: _Text | None = Field(default=None, repr=False)
    phone_number: _Text | None = Field(default=None, alias="phoneNumber", repr=False)
    provider: _Name | None = None
