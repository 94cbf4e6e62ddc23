"""The signature of outgoing webhooks: Standard Webhooks 1.0 (https://www.standardwebhooks.com), symmetric, `v1`."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Final

from standardwebhooks import Webhook

from schemas.subscriptions import CONTENT_TYPE

SECRET_BYTES: Final = 32
PREFIX: Final = "whsec_"


def new_secret() -> str:
    """A secret of 256 bits, as receivers' libraries take it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers_of(id: str, body: str, in_force: Iterable[str], at: datetime) -> dict[str, str]:
    """The headers of a delivery: *id*, the same on every try; the time of this one; a signature by each secret that is
    *in_force*, so that a receiver may know either the old or the new one."""
    return {
        "Content-Type": CONTENT_TYPE,
        "webhook-id": id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(_signer(secret).sign(id, at, body) for secret in in_force),
    }


@lru_cache(maxsize=256)
def _signer(secret: str) -> Webhook:
    return Webhook(secret)
