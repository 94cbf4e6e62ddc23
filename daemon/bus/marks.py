"""The marks and beats that Redis holds, one of each for every part of it that can lose its data alone.

The mark is the same for all parts, and Postgres knows it too. Every look of a process raises the beats.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from adapters.redis.streams import Streams

MARK: Final = "ferryman:{bus}:mark"
BEAT: Final = "ferryman:{bus}:beat"
_LOOK: Final = "return {redis.call('GET', KEYS[1]), redis.call('INCR', KEYS[2]), redis.call('TIME')}"
_BUS: Final = "bus"


class Look(NamedTuple):
    """The marks, and the beats, of the parts; the latest time of their servers."""

    marks: set[str | None]
    beats: list[int]
    now_ms: int


class Marks:
    """Reads and writes the marks and beats of one Redis."""

    def __init__(self, streams: Streams) -> None:
        self._redis = streams.redis
        self._tags = streams.server.parts(streams.partitions)

    def __len__(self) -> int:
        return len(self._tags)

    @property
    def keys(self) -> list[str]:
        """Where the marks stand."""
        return [tagged(MARK, tag) for tag in self._tags]

    async def look(self) -> Look:
        """Raise the beats. Raises: StreamErrors."""
        pipe = self._redis.pipeline(transaction=False)
        for tag in self._tags:
            pipe.execute_command("EVAL", _LOOK, 2, tagged(MARK, tag), tagged(BEAT, tag))
        found = await pipe.execute()
        return Look(
            {None if mark is None else mark.decode() for mark, _, _ in found},
            [int(beat) for _, beat, _ in found],
            max(int(seconds) * 1000 + int(micros) // 1000 for _, _, (seconds, micros) in found),
        )

    async def now(self) -> set[str | None]:
        """The marks."""
        pipe = self._redis.pipeline(transaction=False)
        for key in self.keys:
            pipe.get(key)
        return {None if found is None else found.decode() for found in await pipe.execute()}

    async def beats(self) -> list[int]:
        """The beats, as they are."""
        pipe = self._redis.pipeline(transaction=False)
        for tag in self._tags:
            pipe.get(tagged(BEAT, tag))
        return [int(found or 0) for found in await pipe.execute()]

    async def set(self, mark: str) -> None:
        """Make *mark* the mark of every part."""
        pipe = self._redis.pipeline(transaction=False)
        for key in self.keys:
            pipe.set(key, mark)
        await pipe.execute()


def tagged(key: str, tag: str) -> str:
    """*key* in the slot of *tag*."""
    return key.replace(_BUS, tag, 1)
