"""Connections that leave a server which says that it is the wrong one, and that let their user be canceled.

Behind an address that stays the same (a proxy, a managed endpoint) another server may become the primary. The former
one then keeps its connections and refuses writes, or has no answer that is worth reading. After such a refusal every
connection to that address, of every client that shares the same `WrongServers`, is made anew before its next command,
also one that only reads.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from redis import exceptions as redis_errors
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

_WRONG_SERVER: Final = (
    redis_errors.ReadOnlyError,
    redis_errors.MasterDownError,
    redis_errors.BusyLoadingError,
    redis_errors.OutOfMemoryError,  # the next primary may have room
)


class WrongServers:
    """How often a server that refuses was left, by its address, by all clients that share this record."""

    def __init__(self) -> None:
        self._by_address: dict[str, int] = {}

    def of(self, address: str) -> int:
        """How often a server at *address* was left."""
        return self._by_address.get(address, 0)

    def note(self, address: str, made_after: int) -> None:
        """A server at *address* refuses, on a connection that was made when *made_after* had been left there. One on an
        older connection says nothing of the server that is there now."""
        if self.of(address) == made_after:
            self._by_address[address] = made_after + 1


class _Cancelable(AbstractConnection):
    """Lets the task that uses it be canceled at any moment."""

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """See AbstractConnection. A cancellation that comes while it sends is not lost.

        redis-py sends through `asyncio.wait_for`, which before Python 3.12 drops a cancellation that comes in the same
        turn of the loop as the end of what it waits for (python/cpython#86296). A task that does nothing else but ask
        Redis again and again would then never end.
        """
        task = asyncio.current_task()
        asked = task.cancelling() if task else 0
        await super().send_packed_command(*args, **kwargs)
        if task and task.cancelling() > asked:
            await self.disconnect(nowait=True)  # the answer to the command that went out is not read
            raise asyncio.CancelledError


class _Leaving(_Cancelable):
    """Notes a refusal for its address, and connects anew when one was noted since it connected."""

    def __init__(self, *args: Any, wrong_servers: WrongServers, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._wrong_servers = wrong_servers
        self._made_after = 0

    async def connect(self) -> None:
        """See AbstractConnection. The pool calls it before every use."""
        noted = self._wrong_servers.of(self._address)
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
            self._wrong_servers.note(self._address, self._made_after)
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


class _MasterTcp(_Cancelable, SentinelManagedConnection):
    """To the master that the sentinels name, over TCP."""


class _MasterTls(_Cancelable, SentinelManagedSSLConnection):
    """The same over TLS."""


class _NodeTcp(_Cancelable, Connection):
    """To a node of a cluster, or to a sentinel, over TCP."""


class _NodeTls(_Cancelable, SSLConnection):
    """The same over TLS."""


_MASTER: Final[dict[type, type]] = {SentinelManagedConnection: _MasterTcp, SentinelManagedSSLConnection: _MasterTls}
_NODE: Final[dict[type, type]] = {Connection: _NodeTcp, SSLConnection: _NodeTls}
_LEAVING: Final[dict[type, type]] = {Connection: _Tcp, SSLConnection: _Tls, UnixDomainSocketConnection: _Unix}


def leave_wrong_servers(redis: Redis, wrong_servers: WrongServers) -> None:
    """Make the connections of *redis*, which has none yet, such that leave a wrong server."""
    pool: Any = redis.connection_pool
    pool.connection_class = _LEAVING[pool.connection_class]
    pool.connection_kwargs["wrong_servers"] = wrong_servers


def cancelable_master(redis: Redis) -> None:
    """Make the connections of *redis*, a Sentinel's master, and those to its sentinels such that let their user be
    canceled. It has none yet."""
    pool: Any = redis.connection_pool
    pool.connection_class = _MASTER[pool.connection_class]
    for sentinel in pool.sentinel_manager.sentinels:
        sentinel.connection_pool.connection_class = _NODE[sentinel.connection_pool.connection_class]


def cancelable_nodes(cluster: RedisCluster) -> None:
    """The same of a *cluster*, for the nodes that it was given and those that its map will name."""
    kept: Any = cluster.connection_kwargs  # the map's nodes are made with these
    kept["connection_class"] = _NODE[kept["connection_class"]]
    for node in cluster.nodes_manager.startup_nodes.values():
        node.connection_class = kept["connection_class"]
