"""The proof of senders that sign the raw body: HMAC-SHA256 with a shared secret, in hexadecimal."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Final

_DIGEST: Final = re.compile(r"[0-9A-Fa-f]{64}")


def digest(secret: str, body: bytes) -> str:
    """The signature of *body*."""
    return hmac.digest(secret.encode(), body, "sha256").hex()


def is_digest(text: str) -> bool:
    """Whether *text* has the shape of a signature."""
    return _DIGEST.fullmatch(text) is not None


def is_signed(given: Iterable[str], body: bytes, secrets: Sequence[str]) -> bool:
    """Whether one of the texts *given* is the signature of *body* by one of *secrets*. Constant-time."""
    claimed = [bytes.fromhex(text) for text in given if is_digest(text)]
    if not claimed:
        return False
    right = [hmac.digest(secret.encode(), body, "sha256") for secret in secrets if secret]
    return any(hmac.compare_digest(one, other) for one in claimed for other in right)
