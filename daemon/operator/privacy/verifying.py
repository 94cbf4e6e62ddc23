"""The proof: a search for a person in every column, stream, key, object and log file of ours."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from adapters.postgres.operator.privacy import rows, subjects, texts
from adapters.redis import persons
from adapters.redis.streams import StreamEntry
from daemon.operator.privacy import finding
from daemon.operator.privacy.needles import compiled, pattern_of

if TYPE_CHECKING:
    from adapters.postgres.pool import Pool
    from adapters.redis.streams import Streams
    from daemon.settings.model import Settings

LONGEST_LINE: Final = 1_000_000


class Place(NamedTuple):
    """Where something of a person is. *place*: a column as `table.column`, `stream:TOPIC`, `redis:KIND`, `archive`, or
    a file; *times*: how often."""

    place: str
    times: int


async def verify(pool: Pool, bus: Streams, settings: Settings, text: str) -> list[Place]:
    """Where something is of the person whom *text* means; [] where nothing is. Raises: Unusable."""
    async with finding.looked_at(pool, await finding.seeds(pool, text)) as (conn, number):
        found = await subjects.read(conn, number)
        counts = await rows.counts(conn, number, finding.null_hash())
    pattern = pattern_of(found)
    places = await search(pool, bus, found, pattern)
    named = {one.place.partition(".")[0] for one in places}
    # rows that are the person's and name nobody: found by what they belong to
    places += [Place(table, count) for table, count in counts.items() if table not in named]
    places += await asyncio.to_thread(lambda: list(_files(settings.ferryman_data_dir, compiled(pattern))))
    return sorted(places)


async def search(pool: Pool, bus: Streams, found: Mapping[str, Sequence[str]], pattern: str) -> list[Place]:
    """Where *pattern*, or an entry of *found*, is in the stores."""
    if not pattern:
        return []
    places: list[Place] = []
    for table in await texts.tables(pool):
        places += [
            Place(f"{table.root}.{column}", count) async for column, count in texts.holding(pool, table, pattern)
        ]
    seen: dict[str, int] = {}
    async for entry in persons.entries(bus.redis, bus.partitions, entry_of(found, pattern)):
        topic = f"stream:{entry.key.rpartition(':')[2]}"
        seen[topic] = seen.get(topic, 0) + 1
    for kind in await persons.named(bus.redis, compiled(pattern)):
        seen[f"redis:{kind}"] = seen.get(f"redis:{kind}", 0) + 1
    return _together([*places, *(Place(*one) for one in seen.items())])


def _together(places: Sequence[Place]) -> list[Place]:
    """The days of one table as one."""
    sums: dict[str, int] = {}
    for place, count in places:
        sums[place] = sums.get(place, 0) + count
    return [Place(*one) for one in sums.items()]


def entry_of(found: Mapping[str, Sequence[str]], pattern: str) -> Callable[[StreamEntry], bool]:
    """Tells of an entry whether it is the person's, or names them."""
    keys = {key.encode() for key in found.get("key", ())}
    events = {event.encode() for event in found.get("event", ())}
    named = compiled(pattern) if pattern else None

    def wanted(entry: StreamEntry) -> bool:
        fields = entry.fields
        if fields.get(b"subject", b"").startswith(b"erased:"):
            return False  # a blank, whose id the accounts know
        if fields.get(b"subject") in keys or fields.get(b"id") in events or fields.get(b"causationid") in events:
            return True
        return named is not None and any(named.search(value.decode(errors="replace")) for value in fields.values())

    return wanted


def _files(directory: Path, pattern: re.Pattern[str]) -> Iterator[Place]:
    """Our own files in the data directory that have *pattern*: logs, and objects of an archive in files."""
    if not pattern.pattern:
        return
    for path in [*directory.glob("*.log"), *directory.glob("*/*.log"), *directory.glob("archive/**/*")]:
        if path.is_file() and (count := _lines(path, pattern)):
            yield Place("archive" if "archive" in path.parts else path.name, count)


def _lines(path: Path, pattern: re.Pattern[str]) -> int:
    try:
        with path.open(errors="replace") as lines:
            return sum(1 for line in iter(lambda: lines.readline(LONGEST_LINE), "") if pattern.search(line))
    except OSError:
        return 0
