"""Whether the stores answer, asked once a second on connections of their own."""

from __future__ import annotations

import asyncio
from typing import Final, Literal

import asyncpg
import structlog
from redis.asyncio import Redis

from adapters.postgres.pool import store_is_down
from adapters.redis_client import ping
from adapters.streams import StreamErrors

EVERY_S: Final = 1.0
PATIENCE_S: Final = 2.0

log = structlog.get_logger(__name__)


class Stores:
    """The health of Redis and Postgres as seen from here."""

    def __init__(self, redis: Redis, database_url: str) -> None:
        self._redis = redis
        self._database_url = database_url
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self.redis_up = True
        self.postgres_up = True

    async def run(self, stop: asyncio.Event) -> None:
        """Ask until *stop*."""
        try:
            while not stop.is_set():
                redis_up, postgres_up = await asyncio.gather(self._ask_redis(), self._ask_postgres())
                self._note("redis", self.redis_up, redis_up)
                self._note("postgres", self.postgres_up, postgres_up)
                self.redis_up, self.postgres_up = redis_up, postgres_up
                try:
                    await asyncio.wait_for(stop.wait(), EVERY_S)
                except TimeoutError:
                    continue
        finally:
            if self._connection is not None:
                self._connection.terminate()

    @staticmethod
    def _note(store: str, before: bool, now: bool) -> None:
        if before and not now:
            log.error("store.down", store=store)
        elif now and not before:
            log.info("store.up", store=store)

    async def _ask_redis(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await ping(self._redis)
        except StreamErrors:
            return False
        return True

    async def _ask_postgres(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE_S):
                if self._connection is None or self._connection.is_closed():
                    self._connection = await asyncpg.connect(self._database_url, timeout=PATIENCE_S)
                await self._connection.fetchval("SELECT 1", timeout=PATIENCE_S)
        except Exception as exc:
            if not store_is_down(exc) and not isinstance(exc, asyncpg.PostgresError):
                raise
            if self._connection is not None:
                self._connection.terminate()
                self._connection = None
            return False
        return True


def up(answers: bool) -> Literal["up", "down"]:
    """The word for /readyz."""
    return "up" if answers else "down"
