"""The publisher: the one way on which events come to their streams, large payloads set aside in Postgres."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from adapters.postgres.bus import outbox, payloads, places
from adapters.postgres.pool import Pool, PostgresError
from adapters.redis.streams import StreamErrors, Streams
from schemas.envelope import Event

log = structlog.get_logger(__name__)


async def publish(pool: Pool, streams: Streams, events: Sequence[Event]) -> None:
    """Append *events* in their order. Raises as `Streams.append`."""
    await streams.append(await payloads.set_aside(pool, events))


async def hurry(pool: Pool, streams: Streams, events: Sequence[Event], seqs: Sequence[int]) -> None:
    """Publish *events* that were just committed to the outbox under the numbers *seqs*. Where that fails, the sweeper
    publishes them a few seconds later."""
    try:
        await publish(pool, streams, events)
        await outbox.published(pool, seqs)
    except (*StreamErrors, PostgresError):
        log.info("outbox.left", count=len(events))


async def restore(pool: Pool, streams: Streams, events: Sequence[Event]) -> None:
    """Append *events*, which the server has lost, before it is trusted again, and note their new places in the journal.
    Raises as `Streams.restore`."""
    ids = await streams.restore(await payloads.set_aside(pool, events))
    restored = zip(events, ids, strict=True)
    await places.moved(pool, [(one.id, id) for one, id in restored if not one.replayid and not one.target])
