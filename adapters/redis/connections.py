"""Connections that leave a server which says that it is the wrong one.

Behind an address that stays the same (a proxy, a managed endpoint) another server may become the primary. The former
one then keeps its connections and refuses writes, or has no answer that is worth reading. After such a refusal every
connection of this process to that address is made anew before its next command, also one that only reads.
"""

from __future__ import annotations

from typing import Any, Final

from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection

_WRONG_SERVER: Final = (
    redis_errors.ReadOnlyError,
    redis_errors.MasterDownError,
    redis_errors.BusyLoadingError,
    redis_errors.OutOfMemoryError,  # the next primary may have room
)

_refusals: Final[dict[str, int]] = {}
"""Address -> how often a server there was left."""


class _Leaving(AbstractConnection):
    """Notes a refusal for its address, and connects anew when one was noted since it connected."""

    _made_after = 0

    async def connect(self) -> None:
        """See AbstractConnection. The pool calls it before every use."""
        noted = _refusals.get(self._address, 0)
        if self.is_connected and noted != self._made_after:
            await self.disconnect()
        if not self.is_connected:
            self._made_after = noted
        untyped: Any = super()
        await untyped.connect()

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """See AbstractConnection."""
        try:
            return await super().read_response(*args, **kwargs)
        except _WRONG_SERVER:
            # a refusal on an older connection says nothing of the server that is there now
            if _refusals.get(self._address, 0) == self._made_after:
                _refusals[self._address] = self._made_after + 1
            raise

    @property
    def _address(self) -> str:
        untyped: Any = self
        return str(untyped.repr_pieces())


class _Tcp(_Leaving, Connection):
    """Over TCP."""


class _Tls(_Leaving, SSLConnection):
    """Over TLS."""


class _Unix(_Leaving, UnixDomainSocketConnection):
    """Over a Unix socket."""


_LEAVING: Final[dict[type, type]] = {Connection: _Tcp, SSLConnection: _Tls, UnixDomainSocketConnection: _Unix}


def leave_wrong_servers(redis: Redis) -> None:
    """Make the connections of *redis*, which has none yet, such that leave a wrong server."""
    pool: Any = redis.connection_pool
    pool.connection_class = _LEAVING[pool.connection_class]
