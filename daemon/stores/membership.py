"""The connection to Postgres that says that this process lives: while it is open, the number of partitions cannot
change."""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg

from adapters.postgres import address
from adapters.postgres.bus import partitions
from adapters.postgres.pooler import require_own_sessions
from daemon.lifecycle import StartError

CONNECT_S: Final = 2.0
QUERY_S: Final = 2.0
CHANGE_S: Final = 5.0
"""Longest wait at the start for a change of the partitions: most are over sooner."""

CHECK_S: Final = 5.0
"""Longest wait at the start for the answers that tell a pooler."""

LOOK_S: Final = 0.1


class Membership:
    """This process's share in the lock on the number of partitions. The share is lost with the connection, and taken
    again."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._takes_part = False
        self._partitions: int | None = None

    async def take_part(self) -> None:
        """Keep the number of partitions from changing for as long as this process lives.

        Raises: StartError while `ferryman partitions` changes it; PooledSessions where the lock would guard nothing;
        what Postgres raises when it is away.
        """
        give_up = asyncio.get_running_loop().time() + CHANGE_S
        while True:
            await self.look()
            if self._takes_part:
                await self._require_lock_of_its_own()
                return
            if asyncio.get_running_loop().time() > give_up:
                raise StartError("the partitions are being changed: start again when `ferryman partitions` has ended")
            await asyncio.sleep(LOOK_S)

    def insist_on(self, number: int) -> None:
        """This process works with *number* partitions: from now on `look` raises when that is no longer so."""
        self._partitions = number

    async def look(self) -> None:
        """Make a query; when the connection is gone, make a new one and take part again.

        Raises: StartError when the number of partitions was changed while the connection was gone; what Postgres
        raises when it is away. The connection is closed after any error.
        """
        try:
            await self._query()
        except BaseException:  # also when cancelled: the answer may still be on its way
            self.close()
            raise

    def close(self) -> None:
        """Give the lock back, with its connection."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _connect(self) -> asyncpg.Connection[asyncpg.Record]:
        at = address.read(self._database_url)
        return await asyncpg.connect(
            at.dsn, ssl=at.tls, timeout=CONNECT_S, server_settings={"application_name": "ferryman"}
        )

    async def _require_lock_of_its_own(self) -> None:
        """The lock belongs to a session: raises PooledSessions when that session is not this process's alone."""
        assert self._connection is not None
        other = await self._connect()
        try:
            async with asyncio.timeout(CHECK_S):
                await require_own_sessions(self._connection, other)
        finally:
            other.terminate()

    async def _query(self) -> None:
        if self._connection is None or self._connection.is_closed():
            self._takes_part = False
            self._connection = await self._connect()
        if self._takes_part:
            await self._connection.fetchval("SELECT 1", timeout=QUERY_S)
            return
        self._takes_part = await partitions.take_part(self._connection)
        if self._takes_part and self._partitions is not None:
            await self._compare(self._connection, self._partitions)

    @staticmethod
    async def _compare(connection: asyncpg.Connection[asyncpg.Record], known: int) -> None:
        """The number may have changed while the connection was gone; going on would write to wrong streams."""
        kept = await partitions.number(connection)
        if kept != known:
            raise StartError(f"the partitions were changed from {known} to {kept} meanwhile: start this process again")
