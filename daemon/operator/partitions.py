"""The number of partitions: how it is used now, and how it is changed.

A change is one transaction in Postgres. Before it nothing is touched that a process with the old number uses; after it
the old streams go, by whoever comes first: the verb itself, its repetition, or the next process that starts. Events
that are carried over go into the outbox within that transaction, and every start publishes that before anything else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from adapters.postgres.bus import meta, payloads
from adapters.postgres.operator import partitions
from adapters.postgres.operator.partitions import Left
from adapters.postgres.pool import Connection, Pool
from adapters.redis import lease_table, stream_states
from adapters.redis.client import Redis, cluster, fails_over, serving
from adapters.redis.lease_table import Table
from adapters.redis.stream_states import Entry, StreamState
from adapters.redis.streams import partition_in, stream_key
from daemon.bus.recovery import BEAT, MARK, tagged, tags
from daemon.bus.worker import AnyWorker
from schemas.envelope import TOPICS, Event, from_fields
from schemas.errors import FerrymanError, Malformed

JOURNAL: Final = "journal"


class NotNow(FerrymanError):
    """The number cannot be changed as things are: the text says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What there is. *number*: None before it was first used. *processes*: how many keep the number as it is.

    *streams*: those that exist, by key. *lost*: Redis lacks something, and nobody has mended that yet.
    """

    number: int | None
    streams: Mapping[str, StreamState]
    leases: Table
    processes: int
    changing: bool
    spool: int
    outbox: int
    lost: bool

    def waiting(self, worker: AnyWorker) -> dict[int, tuple[int, int]]:
        """Partition -> (unread, pending) of *worker*."""
        found: dict[int, tuple[int, int]] = {}
        for key, state in self.streams.items():
            if _topic(key) in worker.reads:
                unread, pending = state.waiting(worker.name)
                before = found.get(partition_in(key), (0, 0))
                found[partition_in(key)] = before[0] + unread, before[1] + pending
        return found

    def waits(self, worker: AnyWorker) -> int:
        """How many entries *worker* has before it."""
        return sum(unread + pending for unread, pending in self.waiting(worker).values())


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change did. *moved*: events carried over, one for every worker that had not ended with it. *left_out*:
    entries that are no events; the journal's dead letters have them."""

    was: int
    now: int
    moved: int = 0
    left_out: int = 0


async def look(conn: Connection, redis: Redis, configured: int, *, up_to: int = 0) -> Layout:
    """See how things are; changes nothing. *configured*: the number that the settings name. *up_to*: look at the
    streams of that number of partitions, if it is larger. Raises: redis errors, what Postgres raises, OSError."""
    number = await partitions.number(conn)
    count = max(number or configured, up_to)
    processes, changing = await partitions.holders(conn)
    spool, outbox = await partitions.behind(conn)
    return Layout(
        number=number,
        streams=await stream_states.states(redis, [stream_key(topic, p) for topic in TOPICS for p in range(count)]),
        leases=await lease_table.look(redis),
        processes=processes,
        changing=changing,
        spool=spool,
        outbox=outbox,
        lost=await _has_lost(conn, redis, number or configured),
    )


async def _has_lost(conn: Connection, redis: Redis, number: int) -> bool:
    """What recovery would see at the next start, without touching it: empty streams may be lost ones."""
    agreed = await meta.value(conn, "mark")
    if agreed is None:
        return False
    names = tags(redis, number)
    pipe = redis.pipeline(transaction=False)
    for tag in names:
        pipe.get(tagged(MARK, tag))
        pipe.get(tagged(BEAT, tag))
    found = await pipe.execute()
    kept = [int(beat) for beat in (await meta.value(conn, "beat") or "").split()]
    beats = [int(beat or 0) for beat in found[1::2]]
    servers = await meta.value(conn, "servers") if fails_over(redis) else None
    return (
        any(mark is None or mark.decode() != agreed for mark in found[::2])
        or (len(kept) == len(beats) and any(beat < before for beat, before in zip(beats, kept, strict=True)))
        or (servers is not None and servers != _servers(redis, names))
    )


def _servers(redis: Redis, names: Sequence[str]) -> str:
    return serving(redis, [tagged(MARK, tag) for tag in names])


def obstacles(layout: Layout, workers: Sequence[AnyWorker], off: Mapping[str, str], *, move: bool) -> list[str]:
    """Why the number cannot be changed now, and what to do; [] when it can. *off*: worker -> why it does not run.

    *move*: what waits for other workers than the journal is carried over.
    """
    found = []
    if layout.changing:
        found.append("another `ferryman partitions` is at work: wait for its end")
    if running := _running(layout):
        found.append(f"{running}: stop every process (one that was killed counts until its lease has run out)")
    if layout.lost:
        found.append("Redis has lost data since it was last used: start a daemon, which mends that, and stop it again")
    if layout.spool or layout.outbox:
        text = f"{layout.spool} events wait in the spool and {layout.outbox} in the outbox"
        found.append(f"{text}: start a daemon, which publishes them, and stop it again")
    for worker in workers:
        if (count := layout.waits(worker)) and not (move and worker.name != JOURNAL):
            why = f" ({off[worker.name]})" if worker.name in off else ""
            carry = "" if worker.name == JOURNAL else ", or carry them over with --move"
            found.append(f"{count} events wait for {worker.name}{why}: let a daemon work them off{carry}")
    return found


def _running(layout: Layout) -> str:
    names = sorted({*layout.leases.members, *layout.leases.owners.values()})
    if names:
        more = layout.processes - len(names)
        rest = f" and {more} more" if more > 0 else ""
        return f"{', '.join(name[:8] for name in names)}{rest} run" + ("s" if len(names) == 1 and not rest else "")
    return f"{layout.processes} processes are starting or without Redis" if layout.processes else ""


async def change(
    pool: Pool,
    redis: Redis,
    workers: Sequence[AnyWorker],
    off: Mapping[str, str],
    to: int,
    *,
    configured: int,
    move: bool,
    report: Callable[[int, int], None],
) -> Changed:
    """Make *to* the number. What a change before has left is finished first. *report* hears (carried over, of how
    many at most).

    Raises: NotNow, with nothing changed; redis errors, what Postgres raises, OSError, after which the old or the new
    number is in force and the same call goes on.
    """
    async with pool.acquire() as conn:
        if not await partitions.be_alone(conn):
            found = obstacles(await look(conn, redis, configured), (), off, move=move)
            raise NotNow("; ".join(found) or "another process has just begun: try again")
        await finish(conn, redis)
        layout = await look(conn, redis, configured, up_to=to)
        if layout.number == to:
            return Changed(to, to)
        if found := obstacles(layout, workers, off, move=move):
            raise NotNow("; ".join(found))
        facts = await _prepare_marks(conn, redis, to)
        left = Left(layout.number or configured, {key: state.last_id for key, state in layout.streams.items()})
        carried = _Carried(pool, redis, layout, workers, report)
        if not await partitions.change(conn, to, left, carried.pages(), facts):
            raise NotNow("something has just come into the outbox: start a daemon, which publishes it, and stop it")
        await finish(conn, redis)
        return Changed(left.was, to, carried.moved, len(carried.left_out))


async def finish(conn: Connection | Pool, redis: Redis) -> None:
    """Do what a change has left to do in Redis. Also safe when another process does the same, or has done it.

    Raises: redis errors, what Postgres raises, OSError.
    """
    left = await partitions.left(conn)
    if left is None:
        return
    await stream_states.forget(redis, left.streams)
    number = await partitions.number(conn) or left.was
    if cluster(redis) is not None and number < left.was:
        pipe = redis.pipeline(transaction=False)
        for tag in map(str, range(number, left.was)):
            pipe.delete(tagged(MARK, tag))
            pipe.delete(tagged(BEAT, tag))
        await pipe.execute()
    await partitions.done(conn)


async def _prepare_marks(conn: Connection, redis: Redis, to: int) -> dict[str, str | None]:
    """Marks for the partitions of a cluster that are new, or the next start would see a loss. Returns what has to
    change with the number."""
    agreed = await meta.value(conn, "mark")
    if cluster(redis) is None or agreed is None:
        return {}
    names = tags(redis, to)
    pipe = redis.pipeline(transaction=False)
    for tag in names:
        pipe.set(tagged(MARK, tag), agreed)
    await pipe.execute()
    return {"beat": None, "servers": _servers(redis, names)}


class _Carried:
    """What workers have not ended with, for each of them in the order of its streams, a page at a time."""

    def __init__(
        self,
        pool: Pool,
        redis: Redis,
        layout: Layout,
        workers: Sequence[AnyWorker],
        report: Callable[[int, int], None],
    ) -> None:
        self._pool = pool
        self._redis = redis
        self._layout = layout
        self._workers = workers
        self._report = report
        self._most = sum(layout.waits(worker) for worker in workers)
        self.moved = 0
        self.left_out: set[tuple[str, str]] = set()
        """Entries that are no events."""

    async def pages(self) -> AsyncIterator[Sequence[Event]]:
        """The events, each for one worker, with large payloads in place: what publishes them puts those aside."""
        for state in self._layout.streams.values():
            for worker in self._workers:
                if _topic(state.key) in worker.reads and any(state.waiting(worker.name)):
                    async for entries in stream_states.unacknowledged(self._redis, state, worker.name):
                        if page := self._events(state.key, worker, entries):
                            yield await self._whole(page)
                            self.moved += len(page)
                            self._report(self.moved, self._most)

    def _events(self, key: str, worker: AnyWorker, entries: Sequence[Entry]) -> list[Event]:
        found = []
        for entry_id, fields in entries:
            event = _event(fields)
            if event is None:
                self.left_out.add((key, entry_id))
            elif worker.concerns(event):
                found.append(replace(event, target=worker.name))
        return found

    async def _whole(self, events: Sequence[Event]) -> Sequence[Event]:
        wanted = [(event.id, event.dataref) for event in events if event.dataref]
        if not wanted:
            return events
        kept = await payloads.fetch(self._pool, wanted)
        return [e.with_data(kept.get((e.id, e.dataref), b"")) if e.dataref else e for e in events]


def _event(fields: Mapping[bytes, bytes]) -> Event | None:
    """The event of an entry; None where there is none, or one that Postgres cannot keep."""
    try:
        event = from_fields(fields)
        event.data.decode()
    except (Malformed, UnicodeDecodeError):
        return None
    return None if b"\x00" in event.data else event


def _topic(key: str) -> str:
    return key.rpartition(":")[2]
