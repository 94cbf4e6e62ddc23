"""The events that only the streams have: accepted, and not yet in the journal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from adapters.postgres.bus import payloads, spool
from adapters.postgres.bus.workers import JOURNAL
from adapters.postgres.operator import restored
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_keys
from adapters.redis.values import text
from schemas.envelope import TOPICS, Event, from_fields
from schemas.errors import Malformed

PAGE: Final = 1000


@dataclass(slots=True)
class Count:
    """How many events were found, and how many entries that are none."""

    events: int = 0
    unread: int = 0


async def lines(bus: Streams, count: Count) -> AsyncIterator[bytes]:
    """A line of JSON for each event that the journal may not have yet, in the order of each stream; adds to *count*.

    Read before the tables: what leaves the streams later is in the tables by then, so of what was accepted before the
    first read nothing is missing. Raises: StreamErrors.
    """
    keys = stream_keys(sorted(TOPICS), range(bus.partitions))
    for key, groups in (await bus.positions(keys)).items():
        after = f"({groups[JOURNAL]}" if JOURNAL in groups else "-"
        if JOURNAL in groups:
            summary: Any = await bus.redis.xpending(key, JOURNAL)
            after = text(summary["min"]) if summary["pending"] else after
        while page := await _page(bus, key, after):
            found = [event for _, event in page if event is not None]
            count.unread += len(page) - len(found)
            own = [event for event in found if not event.target and not event.replayid]
            count.events += len(own)
            if own:
                yield b"".join(_line(event) for event in own)
            after = f"({page[-1][0]}"


async def _page(bus: Streams, key: str, after: str) -> list[tuple[str, Event | None]]:
    entries: Any = await bus.redis.xrange(key, min=after, count=PAGE)
    return [(text(entry_id), _event(fields)) for entry_id, fields in entries]


def _event(fields: Any) -> Event | None:
    try:
        event = from_fields(fields)
        event.data.decode()
    except (Malformed, UnicodeDecodeError):
        return None
    return event


def _line(event: Event) -> bytes:
    return orjson.dumps(event._asdict() | {"data": event.data.decode()}) + b"\n"


async def put_back(pool: Pool, content: Iterable[bytes]) -> Count:
    """Spool the events of *content*, what `lines` gave, that the restored tables do not have; the daemon appends them
    before anything newer. Returns how many there were, and how many whose payload the tables lack. Raises: what
    Postgres raises."""
    count = Count()
    batch: list[Event] = []
    for line in _split(content):
        told = orjson.loads(line)
        time = datetime.fromisoformat(told.pop("time"))
        batch.append(Event(time=time, data=told.pop("data").encode(), **told))
        if len(batch) == PAGE:
            await _spool(pool, batch, count)
            batch = []
    await _spool(pool, batch, count)
    return count


async def _spool(pool: Pool, batch: Sequence[Event], count: Count) -> None:
    known = await restored.known(pool, [event.id for event in batch])
    fresh = {event.id: event for event in batch if event.id not in known}
    large = await payloads.fetch(pool, [(e.id, e.dataref) for e in fresh.values() if e.dataref])
    whole = []
    for event in fresh.values():
        if not event.dataref:
            whole.append(event)
        elif (data := large.get((event.id, event.dataref))) is not None:
            whole.append(event.with_data(data))
    count.events += len(whole)
    count.unread += len(fresh) - len(whole)
    if whole:
        await spool.append(pool, whole)


def _split(content: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in content:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest
