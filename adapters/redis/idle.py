"""Pools that close connections which nothing has used for a while: the library keeps the most that it ever needed at a
time."""

from __future__ import annotations

import time
from typing import Any, Final

from redis.asyncio import ConnectionPool
from redis.asyncio.sentinel import SentinelConnectionPool

IDLE_S: Final = 30.0
"""How long a connection of a pool stays open without use: longer than the pauses between the periodic duties."""


class Pool(ConnectionPool):
    """The connections to one server. Looks, while it is used, for connections that are idle too long. The last one used
    is used next, so those of a burst are left alone from then on."""

    _look_at = 0.0

    async def release(self, connection: Any) -> None:
        """See ConnectionPool."""
        connection.idle_since = now = time.monotonic()
        await super().release(connection)
        if now >= self._look_at:
            self._look_at = now + IDLE_S / 2
            await self._close_idle(now)

    async def _close_idle(self, now: float) -> None:
        untyped: Any = self
        async with untyped._get_pool_lock():  # nothing takes a connection meanwhile
            for connection in untyped._get_free_connections():
                if connection.is_connected and now - connection.idle_since > IDLE_S:
                    await connection.disconnect(nowait=True)


class SentinelPool(Pool, SentinelConnectionPool):
    """The connections to the master that the sentinels name."""
