"""Bearer tokens of people and of edges: how they look, and what is stored of them."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from typing import Final

PREFIX: Final = "fmt_"
"""How every token begins: people and scanners of leaked secrets know it by that."""

HINT: Final = 4
"""Characters at the end of a token that are shown of it."""

_BYTES: Final = 32
_TOKEN: Final = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}", re.ASCII)


def new_token() -> str:
    """A token: 256 bits from the system's source of randomness."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def is_token(text: str) -> bool:
    """Whether *text* looks like one: nothing else needs to be searched for."""
    return _TOKEN.fullmatch(text) is not None


def digest_of(token: str) -> bytes:
    """What is stored of it. A plain SHA-256 is enough: nobody guesses 256 bits."""
    return sha256(token.encode()).digest()
