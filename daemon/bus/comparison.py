"""The standing comparison: what Postgres knows to be open must stand on its stream.

The signs of a loss (a mark, a beat, the memory of a process) miss some losses: a tail that is shorter than the beat, a
stream that was deleted, a server that was exchanged while no process ran. An open event whose entry is not on its
stream is a loss, whatever the signs say.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from adapters.postgres.bus import meta, places, workers
from adapters.postgres.bus.places import COMPARED, Place
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_key
from schemas.envelope import TYPES
from schemas.partitions import partition_of

ROUND: Final = 2_000
"""Open events whose entries one round looks for. With more, the rounds take turns."""

STRETCHES: Final = 4
"""Stretches of the journal that one round goes through: with more than 20,000 new events a round, it falls behind, and
catches up when it is quieter."""

HELD: Final = 20_000
"""Open events that are remembered; with so many the journal is not followed further until some have ended."""


class Comparison:
    """One process's comparison. It follows the journal, and remembers which of its events are open. *days*: how far
    back. What is older is not published again (`losses.py`), so it must not be found absent, round for round."""

    def __init__(self, pool: Pool, streams: Streams, days: int) -> None:
        self._pool = pool
        self._streams = streams
        self._days = days
        self._open: dict[int, Place] = {}
        self._after: int | None = None
        """Up to this number the journal has been followed; None: not since the start, or since a loss."""

    async def lost_by_now(self) -> int:
        """As `lost`, of all that is open at once: at the start, before anything is read."""
        every, after = await self._workers(), await self._compared()
        while True:
            until, found = await places.open_behind(self._pool, every, after, days=self._days, settled=False)
            for start in range(0, len(found), ROUND):
                if absent := await self._absent(found[start : start + ROUND]):
                    return absent
            if until == after:
                return 0
            after = until

    async def lost(self) -> int:
        """Compare once; returns how many open events are not on their streams. Raises what the stores raise."""
        every = await self._workers()
        await self._follow(every)
        some = list(islice(self._open, ROUND))
        if not some:
            return 0
        found = {place.seq: place for place in await places.still_open(self._pool, every, some, days=self._days)}
        for seq in some:
            del self._open[seq]
        self._open |= found  # behind the others, which have their turn at the next round
        return await self._absent(list(found.values()))

    async def _workers(self) -> list[workers.Registered]:
        return [worker for worker in await workers.listed(self._pool) if worker.name != workers.JOURNAL]

    async def _compared(self) -> int:
        return int(await meta.value(self._pool, COMPARED) or 0)

    async def checkpoint(self) -> None:
        """Remember for the next start up to where all has ended."""
        if self._after is not None:
            await meta.put(self._pool, COMPARED, str(min(self._open, default=self._after + 1) - 1))

    def forget(self) -> None:
        """Events have new places: ask the journal again."""
        self._open.clear()
        self._after = None

    async def _follow(self, every: Sequence[workers.Registered]) -> None:
        after = self._after
        if after is None:
            after = await self._compared()
        for _ in range(STRETCHES):
            if len(self._open) >= HELD:
                break
            until, found = await places.open_behind(self._pool, every, after, days=self._days)
            self._open |= {place.seq: place for place in found}
            if until == after:
                break
            after = until
        self._after = after

    async def _absent(self, open_events: Sequence[Place]) -> int:
        """How many of *open_events* are not at their places, where nothing or another entry stands."""
        known = [place for place in open_events if place.type in TYPES]  # the others are of another version
        entries = await self._streams.fetch([(self._key(place), place.entry_id) for place in known])
        return sum(
            entry.fields.get(b"id") != place.event_id.encode() for entry, place in zip(entries, known, strict=True)
        )

    def _key(self, place: Place) -> str:
        return stream_key(TYPES[place.type], partition_of(place.subject, self._streams.partitions))
