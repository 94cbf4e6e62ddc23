"""What a Redis that has lost data lacks, and how it gets there again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.postgres.bus import inbox, missing, workers
from adapters.postgres.pool import Connection, Pool
from adapters.redis.streams import Streams, partition_in, stream_keys
from daemon.bus.publisher import restore
from schemas.envelope import TOPICS, Event, from_fields
from schemas.errors import Malformed
from schemas.partitions import partition_of

PAGE: Final = 500


class Losses:
    """Of one process. *days*: how far back the journal is looked at."""

    def __init__(self, pool: Pool, streams: Streams, days: int) -> None:
        self._pool = pool
        self._streams = streams
        self._days = days

    async def missing(self, conn: Connection) -> list[Event]:
        """What the journal has and some worker has not ended with, in the journal's order."""
        found: list[Event] = []
        after = 0
        every = [worker for worker in await workers.listed(conn) if worker.name != workers.JOURNAL]
        while page := await missing.events(conn, every, after, days=self._days, limit=PAGE):
            found += [event for _, event in page]
            after = page[-1][0]
        return found

    async def unknown(self, known: set[str]) -> list[Event]:
        """What this process published a moment ago and some worker has not ended with.

        The journal may have it too by now: it may have got there after `missing` was asked.
        """
        published = {event.id: event for event in self._streams.recent.events() if event.id not in known}
        recent = list(published.values())
        open_ids: set[str] = set()
        for worker in await workers.listed(self._pool) if recent else ():
            concerned = [event for event in recent if worker.concerns(event)]
            ended = await inbox.seen(self._pool, worker.name, concerned)
            open_ids.update(event.id for event in concerned if event.inbox_key not in ended)
        return [event for event in recent if event.id in open_ids]

    async def publish(self, recovered: Sequence[Event], beats_ms: Sequence[int]) -> None:
        """Append what is recovered, and with it, in the order of their times, what came for the same keys since the
        last good beats (of the server, or of each partition; in the server's time): some of that is newer, and some,
        which another process took in, may be older."""
        newer = await self._newer({event.subject for event in recovered}, beats_ms)
        entries = {event.id: event for event in (*recovered, *(event for _, _, event in newer))}
        again = sorted(entries.values(), key=lambda event: event.time)
        for start in range(0, len(again), PAGE):
            await restore(self._pool, self._streams, again[start : start + PAGE])
        pipe = self._streams.redis.pipeline(transaction=False)
        for key, entry_id, _ in newer:
            pipe.xdel(key, entry_id)
        await pipe.execute()

    async def _newer(self, subjects: set[str], beats_ms: Sequence[int]) -> list[tuple[str, str, Event]]:
        partitions = {partition_of(subject, self._streams.partitions) for subject in subjects}
        keys = stream_keys(TOPICS, partitions)
        pipe = self._streams.redis.pipeline(transaction=False)
        for key in keys:
            since_ms = beats_ms[partition_in(key) if len(beats_ms) > 1 else 0]
            pipe.xrange(key, min=f"{since_ms}-0", max="+", count=10_000)
        found: list[tuple[str, str, Event]] = []
        for key, entries in zip(keys, await pipe.execute(), strict=True):
            for entry_id, fields in entries:
                try:
                    event = from_fields(fields)
                except Malformed:
                    continue
                if event.subject in subjects:
                    found.append((key, entry_id.decode(), event))
        return sorted(found, key=lambda entry: entry[2].time)
