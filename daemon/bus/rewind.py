"""A Postgres that went back, to a backup for instance: what its workers had ended with since is read again.

Both stores keep the moment of the last checkpoint; Postgres gets it first. When Redis has a later one than Postgres,
Postgres has lost what came after its own. The streams still hold those events, but the groups are past them.
"""

from __future__ import annotations

from typing import Final

import structlog

from adapters.postgres.bus import meta, places, workers
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_keys
from adapters.redis.values import parsed_id

KEY: Final = "ferryman:{bus}:checkpoint"
_META: Final = "checkpoint"

SLACK_MS: Final = 60_000
"""How much earlier than the checkpoint the groups begin: an event is on its stream before the journal has it."""

log = structlog.get_logger(__name__)


class Rewind:
    """Notices that Postgres went back, and lets every group read again. *in_flight*: the entries that the journal's
    worker may hold at a time. All others that came before its newest are in the journal; what is left on the stream is
    newer than its key's last there."""

    def __init__(self, pool: Pool, streams: Streams, in_flight: int) -> None:
        self._pool = pool
        self._streams = streams
        self._in_flight = in_flight

    async def postgres_went_back(self) -> bool:
        """Whether Redis knows of a later checkpoint than Postgres."""
        kept = await self._streams.redis.get(KEY)
        return kept is not None and int(kept) > await self._checkpoint()

    async def checkpoint(self, now_ms: int) -> None:
        """Both stores hold what there is at *now_ms*, in Redis's time."""
        await meta.raise_to(self._pool, _META, now_ms)
        await self._streams.redis.set(KEY, now_ms)

    async def rewind(self) -> None:
        """Have every group read again what the journal may lack. What a worker has ended with, its inbox drops."""
        oldest = await places.oldest_of_last(self._pool, self._in_flight)
        until = await self._checkpoint() - SLACK_MS
        since = f"{max(0, until if oldest is None else min(until, parsed_id(oldest)[0] - 1))}-0"
        every = await workers.listed(self._pool)
        readers: dict[str, list[str]] = {}
        for worker in every:
            for key in stream_keys(worker.topics, range(self._streams.partitions)):
                readers.setdefault(key, []).append(worker.name)
        ahead = [
            (key, name)
            for key, positions in (await self._streams.positions(list(readers))).items()
            for name, position in positions.items()
            if name in readers[key] and parsed_id(position) > parsed_id(since)
        ]
        pipe = self._streams.redis.pipeline(transaction=False)
        for key, name in ahead:
            pipe.execute_command("XGROUP", "SETID", key, name, since)
        await pipe.execute()
        log.warning("postgres.went_back", since_ms=parsed_id(since)[0], groups=len(ahead))

    async def _checkpoint(self) -> int:
        return int(await meta.value(self._pool, _META) or 0)
