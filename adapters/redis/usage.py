"""How much of the server is in use, and how long it takes to write; of a cluster, of all its primaries."""

from __future__ import annotations

import time
from typing import NamedTuple

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from adapters.redis import durability
from adapters.redis.client import server_of


class Usage(NamedTuple):
    """*size_bytes*: of the append-only files. None: the server may not be asked. *write_s*: of one small write; with
    `appendfsync always` it is on disk by then."""

    memory_bytes: int | None
    connections: int | None
    size_bytes: int | None
    write_s: float


async def usage(redis: Redis) -> Usage:
    """Ask the server, or every primary of a cluster. Raises redis errors."""
    server = server_of(redis)
    begun = time.perf_counter()
    await server.look()
    write_s = time.perf_counter() - begun
    try:
        primaries = [node for node in await server.nodes() if node.primary]
        infos = [await node.ask("INFO", "memory", "clients", "persistence") for node in primaries]
    except redis_errors.ResponseError as exc:
        if not durability.forbidden(exc):
            raise
        return Usage(None, None, None, write_s)
    names = ("used_memory", "connected_clients", "aof_current_size")  # the last is not there without such a file
    memory, connections, size = (sum(int(info.get(name, 0)) for info in infos) for name in names)
    return Usage(memory, connections, size, write_s)
