"""Whether the stores answer, asked once a second on connections of their own.

The connection to Postgres also says that this process lives: while it is open, nobody changes the number of
partitions.
"""

from __future__ import annotations

import asyncio
from typing import Final, Literal

import asyncpg
import structlog
from redis.asyncio import Redis

from adapters.postgres.bus import partitions
from adapters.postgres.pool import store_is_down
from adapters.redis.client import ping
from adapters.redis.streams import StreamErrors
from daemon.lifecycle import StartError

EVERY_S: Final = 1.0
PATIENCE_S: Final = 2.0
CHANGE_S: Final = 5.0
"""Longest wait at the start for a change of the partitions: most are over sooner."""

LOOK_S: Final = 0.1

log = structlog.get_logger(__name__)


class Stores:
    """The health of Redis and Postgres as seen from here. *partitions*: as this process knows them, once it does."""

    def __init__(self, redis: Redis, database_url: str) -> None:
        self._redis = redis
        self._database_url = database_url
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._takes_part = False
        self.partitions: int | None = None
        self.redis_up = True
        self.postgres_up = True

    async def take_part(self) -> None:
        """Keep the number of partitions from changing for as long as this process lives.

        Raises: StartError while somebody changes it; what Postgres raises when it is away.
        """
        give_up = asyncio.get_running_loop().time() + CHANGE_S
        while True:
            await self._ask()
            if self._takes_part:
                return
            if asyncio.get_running_loop().time() > give_up:
                raise StartError("the partitions are being changed: start again when `ferryman partitions` has ended")
            await asyncio.sleep(LOOK_S)

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def run(self, stop: asyncio.Event) -> None:
        """Ask until *stop*. Raises: StartError when the number of partitions has changed behind our back."""
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
            self.close()

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
                await self._ask()
        except Exception as exc:
            if not store_is_down(exc) and not isinstance(exc, asyncpg.PostgresError):
                raise
            self.close()
            return False
        return True

    async def _ask(self) -> None:
        if self._connection is None or self._connection.is_closed():
            self._takes_part = False
            self._connection = await asyncpg.connect(
                self._database_url, timeout=PATIENCE_S, server_settings={"application_name": "ferryman"}
            )
        if self._takes_part:
            await self._connection.fetchval("SELECT 1", timeout=PATIENCE_S)
            return
        self._takes_part = await partitions.take_part(self._connection)
        if self._takes_part and self.partitions is not None:
            await self._compare(self._connection, self.partitions)

    @staticmethod
    async def _compare(connection: asyncpg.Connection[asyncpg.Record], known: int) -> None:
        """The connection was lost, so the number may have changed meanwhile; going on would write to wrong streams."""
        kept = await partitions.number(connection)
        if kept != known:
            raise StartError(f"the partitions were changed from {known} to {kept} meanwhile: start this process again")


def up(answers: bool) -> Literal["up", "down"]:
    """The word for /readyz."""
    return "up" if answers else "down"
