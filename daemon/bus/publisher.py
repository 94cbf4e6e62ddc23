"""The publisher: the one way on which events come to their streams, large payloads set aside in Postgres."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.postgres.bus import payloads, places
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from schemas.envelope import Event


async def publish(pool: Pool, streams: Streams, events: Sequence[Event]) -> None:
    """Append *events* in their order. Raises as `Streams.append`."""
    await streams.append(await payloads.set_aside(pool, events))


async def restore(pool: Pool, streams: Streams, events: Sequence[Event]) -> None:
    """Append *events*, which the server has lost, before it is trusted again, and note their new places in the journal.
    Raises as `Streams.restore`."""
    ids = await streams.restore(await payloads.set_aside(pool, events))
    restored = zip(events, ids, strict=True)
    await places.moved(pool, [(one.id, id) for one, id in restored if not one.replayid and not one.target])
