"""Workers of the installation whose work waits while no process runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.postgres.bus import workers
from adapters.postgres.bus.workers import Registered
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_keys

ATTENDED_S: Final = 60.0
"""A process tells every ten seconds which workers it runs: a worker of which this was told more recently is run."""

WARN_S: Final = 3600.0
"""Work that waits for longer without a process that runs its worker is a warning."""


async def unattended(pool: Pool, streams: Streams) -> dict[str, float]:
    """As `unattended_of`, of every worker of the installation."""
    return await unattended_of(await workers.listed(pool), streams)


async def unattended_of(registered: Sequence[Registered], streams: Streams) -> dict[str, float]:
    """Worker -> for how many seconds its work waits without a process; 0 where one runs it, or nothing waits."""
    found: dict[str, float] = {}
    for worker in registered:
        found[worker.name] = 0.0
        if worker.unseen_s > ATTENDED_S:
            unread, pending = await streams.lag(worker.name, stream_keys(worker.topics, range(streams.partitions)))
            if unread or pending:
                found[worker.name] = worker.unseen_s
    return found
