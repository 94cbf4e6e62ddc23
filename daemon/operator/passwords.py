"""Passwords of operators: hashed by Argon2id in a thread, a few at once."""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from typing import Final, TypeVar

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

T = TypeVar("T")

SHORTEST: Final = 12
LONGEST: Final = 200
"""Characters of a password."""

AT_ONCE: Final = 2
"""Hashes at once: each takes 45 ms of a core and 19 MiB."""

MOST_WAITING: Final = 20


class TooMany(Exception):
    """So many people log in at once that this one has to come again."""


class Passwords:
    """Hashes, and checks what somebody has typed. One for a process, so that AT_ONCE holds."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def hashed(self, password: str) -> str:
        """The PHC string of *password*. Raises: TooMany."""
        return await self._in_thread(_hash, password)

    async def is_right(self, password: str, phc: str | None) -> bool:
        """Whether *phc* is that of *password*. None: there is none, which takes as long to find. Raises: TooMany."""
        return await self._in_thread(_check, password, _nobodys() if phc is None else phc)

    async def _in_thread(self, work: Callable[..., T], *of: str) -> T:
        if self._waiting >= MOST_WAITING:
            raise TooMany
        self._waiting += 1
        try:
            async with self._room:
                return await asyncio.to_thread(work, *of)
        finally:
            self._waiting -= 1


def _hash(password: str) -> str:
    kdf = Argon2id(salt=secrets.token_bytes(16), length=32, iterations=2, lanes=1, memory_cost=19_456)
    return kdf.derive_phc_encoded(password.encode())


def _check(password: str, phc: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password.encode(), phc)
    except InvalidKey:
        return False
    return True


@cache
def _nobodys() -> str:
    """A PHC string of the same cost, that no password has: what it was made of is thrown away, and so is its digest."""
    salt, digest = secrets.token_bytes(16), secrets.token_bytes(32)
    return f"$argon2id$v=19$m=19456,t=2,p=1${_b64(salt)}${_b64(digest)}"


def _b64(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")
