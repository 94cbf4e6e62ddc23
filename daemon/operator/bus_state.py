"""The bus as an operator looks at it: partitions and their owners, streams, the processes, the workers."""

from __future__ import annotations

from typing import Any

from adapters.postgres.pool import Pool
from adapters.redis.streams import StreamErrors, Streams
from daemon.operator import members, partitions
from daemon.operator.faults import Unanswered
from daemon.operator.workers import read_workers
from daemon.workers import WORKERS

RETRY_S = 2.0


async def document(pool: Pool, bus: Streams, configured: int) -> dict[str, Any]:
    """All of it as JSON. *configured*: the number of partitions of the settings. Raises: Unanswered, while Redis is
    away."""
    try:
        async with pool.acquire() as conn:
            layout = await partitions.read_layout(conn, bus.redis, configured)
        workers = await read_workers(pool, bus)
    except StreamErrors:
        raise Unanswered("Redis does not answer: ask again", retry_after_s=RETRY_S) from None
    return {
        "partitions": partitions.document(layout, WORKERS, configured),
        "members": [members.document(member) for member in await members.read_members(pool)],
        "workers": workers,
    }
