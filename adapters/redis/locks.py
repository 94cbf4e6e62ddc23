"""Locks that all processes share: while one holds a name, the others wait for it.

A lock is a key with the holder's token and an end: who is killed holds it no longer than that. The holder puts the end
off while it works, and takes away its own token alone. A store that loses the key, or a holder that was frozen, lets
two in at once: so a lock spares work, and who writes under it compares what came of it.

Postgres has locks too (`pg_advisory_lock`), but for as long as a session or a transaction lasts: one connection of the
pool for each call that waits for an outside system, and none at all behind a pooler of transactions.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from typing import Any, Final

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from schemas.errors import StoreAway, Transient

TTL_S: Final = 15.0
WAIT_S: Final = 20.0
LOOK_S: Final = 0.05
"""Between two looks of one that waits, at first; it grows to TEN_TIMES as much."""

_ERRORS: Final = (redis_errors.RedisError, OSError, TimeoutError)

_RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_EXTEND: Final = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
)


class Held(Transient):
    """Another has held the lock for longer than we wait."""

    answered = True


class Locks:
    """*ttl_s*: how long a lock outlives a holder that was killed. *wait_s*: how long one is waited for. *clock*:
    monotonic seconds."""

    def __init__(
        self,
        redis: Redis,
        *,
        ttl_s: float = TTL_S,
        wait_s: float = WAIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis: Any = redis
        self._ttl_ms = round(ttl_s * 1000)
        self._wait_s = wait_s
        self._clock = clock

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Hold *name* while the block runs. Raises: Held; StoreAway where Redis does not answer before the block."""
        key, token = _key(name), secrets.token_hex(16)
        await self._take(key, token)
        renewing = asyncio.create_task(self._renew(key, token))
        try:
            yield
        finally:
            renewing.cancel()
            with suppress(*_ERRORS):  # else it ends by itself
                await self._redis.eval(_RELEASE, 1, key, token)

    async def _take(self, key: str, token: str) -> None:
        until, pause = self._clock() + self._wait_s, LOOK_S
        while True:
            try:
                if await self._redis.set(key, token, nx=True, px=self._ttl_ms):
                    return
            except _ERRORS as exc:
                raise StoreAway(f"a lock could not be taken: Redis does not answer ({type(exc).__name__})") from exc
            if self._clock() >= until:
                raise Held("another process has been at the same record all the while")
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - only so that not all look at once
            pause = min(pause * 1.5, LOOK_S * 10)

    async def _renew(self, key: str, token: str) -> None:
        while True:
            await asyncio.sleep(self._ttl_ms / 3000)
            with suppress(*_ERRORS):
                await self._redis.eval(_EXTEND, 1, key, token, self._ttl_ms)


def _key(name: str) -> str:
    """Without a phone in it: keys are shown by many tools."""
    return f"ferryman:lock:{blake2b(name.encode(), digest_size=16).hexdigest()}"
