"""How many accepted events only Redis has, which no search of the tables can find."""

from __future__ import annotations

from typing import Final

from adapters.postgres.bus import partitions
from adapters.postgres.bus.workers import JOURNAL
from adapters.postgres.pool import Pool
from adapters.redis import streams
from adapters.redis.streams import StreamErrors, Streams, stream_keys
from schemas.envelope import TOPICS

TIMEOUT_S: Final = 2.0


async def unjournaled(pool: Pool, redis_url: str, configured: int) -> int | None:
    """Entries of the streams that the journal has not taken yet; None where Redis does not tell. *configured*: the
    number of partitions of the settings, for a database without one."""
    number = await partitions.number(pool) or configured
    client = streams.client(redis_url, timeout_s=TIMEOUT_S, connections=1)
    try:
        unread, pending = await Streams(client, number).lag(JOURNAL, stream_keys(sorted(TOPICS), range(number)))
    except StreamErrors:
        return None
    finally:
        await client.aclose()
    return None if unread < 0 else unread + pending


def caveat(count: int | None) -> str:
    """What a search that found nothing has not seen, for the end of its line; "" where it has seen all."""
    if count is None:
        return "; Redis does not tell whether it has events that are not in the journal yet"
    return f"; {count} accepted events are not in the journal yet: ask again in a moment" if count else ""
