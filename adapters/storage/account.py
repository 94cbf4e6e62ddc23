"""An account at Google Cloud Storage, as its settings name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GcsAccount:
    """Where the buckets are. *project*: the project of the buckets. *emulator*: address of an emulator, which needs no
    service account. *email*, *key_id*, *token_url*: of the service account; *key* gives its private key (PEM)."""

    project: str
    emulator: str | None = None
    email: str = ""
    key: Callable[[], str] = str
    key_id: str = ""
    token_url: str = ""
