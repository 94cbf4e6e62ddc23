"""The change of the number of partitions, while no process runs.

The change is one transaction in Postgres. Before it, nothing is touched that a process with the old number uses. After
it, the old streams are removed by the verb itself, by its repetition, or by the next process that starts. Events that
are carried over go into the outbox within that transaction, and every start publishes the outbox before anything else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from adapters.postgres.bus import meta, partitions, payloads
from adapters.postgres.operator import repartition
from adapters.postgres.operator.repartition import OldStreams
from adapters.postgres.pool import Connection, Pool, locking
from adapters.redis import stream_states
from adapters.redis.client import Redis, server_of
from adapters.redis.stream_states import Entry
from daemon.bus import journal
from daemon.bus.marks import BEAT, MARK, tagged
from daemon.bus.worker import AnyWorker
from daemon.operator.partitions import Layout, read_layout, serving_marks, topic_in
from schemas.envelope import Event, from_fields
from schemas.errors import FerrymanError, Malformed

JOURNAL: Final = journal.WORKER.name


class NotNow(FerrymanError):
    """The number cannot be changed at present: the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change did. *moved*: events carried over, one for every worker that had not ended with it. *left_out*:
    entries that are no events; the journal's dead letters have them."""

    was: int
    now: int
    moved: int = 0
    left_out: int = 0


def plan_text(layout: Layout, workers: Sequence[AnyWorker], configured: int, to: int, *, move: bool) -> str:
    """What the change to *to* would do, as a clause that begins with a verb."""
    entries = sum(state.entries for state in layout.streams.values())
    carried = sum(layout.waits(worker) for worker in workers if worker.name != JOURNAL) if move else 0
    text = f"change the partitions from {layout.number or configured} to {to}"
    dropped = f", drop {entries} entries from Redis that the journal keeps" if entries else ""
    return text + dropped + (f", and carry over {carried} that wait" if carried else "")


def obstacles(layout: Layout, workers: Sequence[AnyWorker], off: Mapping[str, str], *, move: bool) -> list[str]:
    """Why the number cannot be changed now, and what to do; [] when it can. *off*: worker -> why it does not run.

    *move*: what waits for other workers than the journal is carried over, so it is no obstacle.
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
    """Make *to* the number, after doing what an earlier change has left to do. *report* is called with (carried over,
    of how many at most).

    Raises: NotNow, with nothing changed; redis errors, what Postgres raises, OSError, after which the old or the new
    number is in force and the same call goes on.
    """
    async with locking(pool) as conn:
        if not await partitions.be_alone(conn):
            found = obstacles(await read_layout(conn, redis, configured), (), off, move=move)
            raise NotNow("; ".join(found) or "another process has just begun: try again")
        await finish(conn, redis)
        layout = await read_layout(conn, redis, configured, up_to=to)
        if layout.number == to:
            return Changed(to, to)
        if found := obstacles(layout, workers, off, move=move):
            raise NotNow("; ".join(found))
        meta_values = await _prepare_marks(conn, redis, layout.number or configured, to)
        old = OldStreams(layout.number or configured, {key: state.last_id for key, state in layout.streams.items()})
        carried = _Carried(pool, redis, layout, workers, report)
        if not await repartition.change(conn, to, old, carried.pages(), meta_values):
            raise NotNow("something has just come into the outbox: start a daemon, which publishes it, and stop it")
        await finish(conn, redis)
        return Changed(old.was, to, carried.moved, len(carried.left_out))


async def finish(conn: Connection | Pool, redis: Redis) -> None:
    """Do in Redis what a change has left to do. Safe to repeat, also while another process does the same.

    Raises: redis errors, what Postgres raises, OSError.
    """
    old = await repartition.old_streams(conn)
    if old is None:
        return
    await stream_states.forget(redis, old.streams)
    number = await partitions.number(conn) or old.was
    parts = server_of(redis).parts
    if gone := set(parts(old.was)) - set(parts(number)):
        pipe = redis.pipeline(transaction=False)
        for tag in gone:
            pipe.delete(tagged(MARK, tag))
            pipe.delete(tagged(BEAT, tag))
        await pipe.execute()
    await repartition.old_streams_removed(conn)


async def _prepare_marks(conn: Connection, redis: Redis, was: int, to: int) -> dict[str, str | None]:
    """Set the marks of a cluster's new partitions: without them the next start would see a loss. Returns the keys of
    `ferryman_meta` that have to change together with the number, and their values."""
    agreed = await meta.value(conn, "mark")
    server = server_of(redis)
    names = server.parts(to)
    if names == server.parts(was) or agreed is None:
        return {}
    pipe = redis.pipeline(transaction=False)
    for tag in names:
        pipe.set(tagged(MARK, tag), agreed)
    await pipe.execute()
    return {"beat": None, "servers": serving_marks(server, names)}


class _Carried:
    """The events that workers have not ended with, for each worker in the order of its streams, a page at a time."""

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
        """Entries that are no events: (stream, entry id)."""

    async def pages(self) -> AsyncIterator[Sequence[Event]]:
        """The events, each for one worker, with their whole payloads: the publisher sets large ones aside again."""
        for state in self._layout.streams.values():
            for worker in self._workers:
                if topic_in(state.key) in worker.reads and any(state.waiting(worker.name)):
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
                found.append(event._replace(target=worker.name))
        return found

    async def _whole(self, events: Sequence[Event]) -> Sequence[Event]:
        wanted = [(event.id, event.dataref) for event in events if event.dataref]
        if not wanted:
            return events
        kept = await payloads.fetch(self._pool, wanted)
        # a payload that is not there stays a reference: the worker tells that it is absent, and keeps the event open
        return [e.with_data(kept[e.id, e.dataref]) if (e.id, e.dataref) in kept else e for e in events]


def _event(fields: Mapping[bytes, bytes]) -> Event | None:
    """The event of an entry; None where the entry has none, or one that Postgres cannot store."""
    try:
        event = from_fields(fields)
        event.data.decode()
    except (Malformed, UnicodeDecodeError):
        return None
    return None if b"\x00" in event.data else event
