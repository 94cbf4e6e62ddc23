"""Redis as the rate limit asks it: by scripts, few at a time, and not at all for a while after it failed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final

import structlog
from redis import exceptions as redis_errors
from redis.asyncio import Redis

_REST_S: Final = 2.0
"""How long Redis is left alone after it failed, so that calls do not each wait for its timeout."""

_MOST_AT_ONCE: Final = 8
"""How many questions are under way: the client, which others use too, has only so many connections."""

_Away: Final = (redis_errors.RedisError, OSError, TimeoutError)


class LimitServer:
    """Runs scripts on *redis*. None: there is no Redis, which is as if it were away."""

    def __init__(self, redis: Redis | None, clock: Callable[[], float]) -> None:
        self._redis = redis
        self._clock = clock
        self._back_at = 0.0
        self._away = False
        self._few = asyncio.Semaphore(_MOST_AT_ONCE)

    async def run(self, script: str, keys: tuple[str, ...], args: Iterable[str | int]) -> Any:
        """The script's answer; None while Redis is away."""
        if self._redis is None or self._clock() < self._back_at:
            return None
        try:
            async with self._few:
                answer = await self._evaluate(script, keys, args)
        except _Away as error:
            self._back_at = self._clock() + _REST_S
            if not self._away:  # many requests meet the same outage
                self._away = True
                structlog.get_logger().warning("limits.in_process", error=type(error).__name__)
            return None
        self._away = False
        return answer

    async def _evaluate(self, script: str, keys: tuple[str, ...], args: Iterable[str | int]) -> Any:
        redis: Any = self._redis
        try:
            return await redis.evalsha(_sha(script), len(keys), *keys, *args)
        except redis_errors.NoScriptError:
            return await redis.eval(script, len(keys), *keys, *args)


@cache
def _sha(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
