"""What a Redis that has lost data lacks, and how it gets there again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.postgres.bus import inbox, missing, workers
from adapters.postgres.pool import Connection, Pool
from adapters.redis.streams import Streams, partition_in, stream_keys, topic_in
from adapters.redis.values import text
from daemon.bus.publisher import restore
from schemas.envelope import TOPICS, Event, from_fields
from schemas.errors import Malformed
from schemas.partitions import partition_of

PAGE: Final = 500
SKEW_MS: Final = 60_000
"""How much later than Redis's clock that of a process may be."""


class Losses:
    """Finds what Redis has lost, and publishes it again. *days*: how far back the journal is looked at."""

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

    async def publish(self, recovered: Sequence[Event]) -> None:
        """Append what is recovered, and with it, in the order of their times, what is there for the same keys and came
        since: some of that is newer, and some, which waited in the spool, may be older."""
        newer = await self._newer(recovered)
        every = (*recovered, *(event for _, _, event in newer))
        entries = {(*event.inbox_key, event.target): event for event in every}  # a replay and a retry are others
        again = sorted(entries.values(), key=lambda event: event.time)
        for start in range(0, len(again), PAGE):
            await restore(self._pool, self._streams, again[start : start + PAGE])
        await self._remove([(key, entry_id) for key, entry_id, _ in newer])

    async def _remove(self, moved: Sequence[tuple[str, str]]) -> None:
        """Take the former entries of what was appended again off their streams, also where they are pending."""
        topics = {worker.name: worker.topics for worker in await workers.listed(self._pool)}
        for start in range(0, len(moved), PAGE):
            pipe = self._streams.redis.pipeline(transaction=False)
            for key, entry_id in moved[start : start + PAGE]:
                pipe.xdel(key, entry_id)
                for name in [name for name, read in topics.items() if topic_in(key) in read]:
                    pipe.xack(key, name, entry_id)
            await pipe.execute()

    async def _newer(self, recovered: Sequence[Event]) -> list[tuple[str, str, Event]]:
        """(stream, entry id, event) of what is there for the keys of *recovered* and was appended since the first of
        them came."""
        since_ms: dict[int, int] = {}
        for event in recovered:
            partition = partition_of(event.subject, self._streams.partitions)
            came_ms = max(0, int(event.time.timestamp() * 1000) - SKEW_MS)
            since_ms[partition] = min(came_ms, since_ms.get(partition, came_ms))
        subjects = {event.subject for event in recovered}
        found: list[tuple[str, str, Event]] = []
        for key in stream_keys(TOPICS, since_ms):
            after = f"{since_ms[partition_in(key)]}-0"
            while page := await self._page(key, after):
                found += [(key, entry_id, event) for entry_id, event in page if event and event.subject in subjects]
                after = f"({page[-1][0]}"
        return sorted(found, key=lambda entry: entry[2].time)

    async def _page(self, key: str, after: str) -> list[tuple[str, Event | None]]:
        """Entries of *key* from *after* on; without their events where they are none of ours."""
        entries: Any = await self._streams.redis.xrange(key, min=after, count=PAGE)
        return [(text(entry_id), _event(fields)) for entry_id, fields in entries]


def _event(fields: Mapping[bytes, bytes]) -> Event | None:
    try:
        return from_fields(fields)
    except Malformed:
        return None
