"""What `/api/v1/credentials` and `/api/token` answer: no value of a secret in full."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel


class CredentialsOut(BaseModel):
    """An account at a provider. *secret*: its fields, masked but for their last characters; null: it cannot be
    decrypted, and *error* says why. *key_id*: of the key that encrypted it. *created_by*: who stored it first."""

    provider: str
    account: str
    secret: dict[str, str] | None
    error: str | None
    key_id: str
    created_at: AwareDatetime
    updated_at: AwareDatetime
    created_by: str


class CredentialsList(BaseModel):
    """The accounts that are stored. *settings*: each provider that the settings name, and whether its account `default`
    is that one; false: a stored one goes before."""

    credentials: list[CredentialsOut]
    settings: dict[str, bool]


class TokenStored(CredentialsOut):
    """The account is stored."""

    success: Literal[True]


class CredentialsDeleted(BaseModel):
    """The account is deleted."""

    provider: str
    account: str
    deleted: Literal[True]
