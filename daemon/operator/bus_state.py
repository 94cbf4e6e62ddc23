"""The bus as an operator looks at it: partitions and their owners, streams, the processes, the workers."""

from __future__ import annotations

from typing import Any

from adapters.postgres.bus import epochs
from adapters.postgres.pool import Pool
from adapters.redis.streams import StreamErrors, Streams
from daemon.operator import members, partitions
from daemon.operator.faults import Unanswered
from daemon.operator.workers import read_workers
from daemon.workers import WORKERS

RETRY_S = 2.0


async def document(pool: Pool, bus: Streams, configured: int) -> dict[str, Any]:
    """All of it as JSON. Of each share also its epoch, and since when its owner has it. *configured*: the number of
    partitions of the settings. Raises: Unanswered, while Redis is away."""
    try:
        async with pool.acquire() as conn:
            layout = await partitions.read_layout(conn, bus.redis, configured)
        workers = await read_workers(pool, bus)
    except StreamErrors:
        raise Unanswered("Redis does not answer: ask again", retry_after_s=RETRY_S) from None
    taken = {(one.worker, one.partition): one for one in await epochs.listed(pool)}
    told = partitions.document(layout, WORKERS, configured)
    for name, shares in told["workers"].items():
        for share in shares:
            one = taken.get((name, share["partition"]))
            share["epoch"], share["since"] = (None, None) if one is None else (one.epoch, one.acquired_at)
    return {
        "partitions": told,
        "members": [members.document(member) for member in await members.read_members(pool)],
        "workers": workers,
    }
