"""The groups of every worker of the installation, on every stream that the worker reads."""

from __future__ import annotations

from typing import Final

from adapters.postgres.bus import meta, workers
from adapters.postgres.bus.workers import JOURNAL
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_keys
from schemas.envelope import TOPICS

_MADE: Final = "streams"
"""The key in ferryman_meta: which streams have been made."""


async def ensure(pool: Pool, streams: Streams) -> None:
    """Make the groups that are missing, also of workers that no process runs now: what they have not read is kept for
    them."""
    every = await workers.listed(pool)
    for worker in every:
        await streams.ensure_groups(worker.name, stream_keys(worker.topics, range(streams.partitions)))
    if any(worker.name == JOURNAL for worker in every):
        await meta.put(pool, _MADE, _these(streams))


async def lost(pool: Pool, streams: Streams) -> bool:
    """Whether a stream that was made is gone, or is another one: it lacks the journal's group.

    What it held may be in no journal yet, so no comparison with the journal would find it.
    """
    if await meta.value(pool, _MADE) != _these(streams):
        return False
    keys = stream_keys(TOPICS, range(streams.partitions))
    found = await streams.positions(keys)
    return any(JOURNAL not in found.get(key, {}) for key in keys)


def _these(streams: Streams) -> str:
    return f"{streams.partitions} {' '.join(sorted(TOPICS))}"
