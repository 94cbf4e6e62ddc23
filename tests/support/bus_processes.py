"""Processes of the bus for a model test: on one event loop that stands still between two steps, killed at named points.

Every part is the daemon's own: consumers of a toy worker and of the journal, on real streams and real epochs. The
test adds death (a call that never comes back), sleep (a gate before the end of the handlers) and the end of leases.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final, cast

from adapters.postgres.bus import epochs
from adapters.postgres.pool import Connection
from adapters.redis import streams
from adapters.redis.streams import StreamEntry, Streams, stream_keys
from daemon.bus import journal
from daemon.bus.consumer import Consumer
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.upkeep import publish_left
from daemon.bus.worker import AnyWorker
from daemon.settings.model import Settings
from schemas.envelope import TOPICS, Event
from schemas.errors import Refused, Transient
from tests.support.bus import Bench, FixedLeases, make_shared
from tests.support.toy import TOY, Effect, effect, record

ATTEMPTS: Final = 3
JOURNAL: Final = journal.WORKER.name
PLANS: Final = ("done", "emit", "skip", "fails once", "fails twice", "refused", "fails always")
"""What handling an event comes to; part of its data, so that it is the same whichever process handles it."""

EMITTING: Final = ("emit", "fails once")

POINTS: Final = (
    "at rest",
    "after the read",
    "in the handler",
    "before the commit",
    "before the publish",
    "after the publish",
    "before the ack",
    "after the ack",
)
"""Where a process can die."""


async def act(event: Event, turn: Turn, note: str) -> Outcome:
    """Do what the plan in *event* says."""
    body = event.json()
    plan, failures = body["plan"], {"fails once": 1, "fails twice": 2, "fails always": ATTEMPTS}
    if turn.attempt <= failures.get(plan, 0):
        raise Transient("away")
    if plan == "refused":
        raise Refused("no")
    if plan == "skip":
        return Done(skipped="nothing to do")
    emit = (event.emit("contact.synced", 0, {"n": body["n"]}, time=turn.now),) if plan in EMITTING else ()
    return Done(rows=(effect(event, note),), emit=emit)


class Life:
    """Ends at a named point: what reaches it the n-th time never comes back, and after `end` nothing does."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._over = asyncio.Event()
        self._point = ""
        self._left = 0

    def end_at(self, point: str, nth: int) -> None:
        self._point, self._left = point, nth

    async def reach(self, point: str) -> None:
        if not self._over.is_set():
            if point != self._point:
                return
            self._left -= 1
            if self._left != 0:
                return
            self.reached.set()
            await self._over.wait()
        raise asyncio.CancelledError

    def end(self) -> None:
        self._over.set()


class MortalStreams(Streams):
    """Streams of a process that may die before or after each command."""

    def __init__(self, bus: Streams, life: Life) -> None:
        super().__init__(bus.redis, bus.partitions)
        self._life = life

    async def read(
        self, group: str, positions: Mapping[str, str], *, count: int, epochs: Mapping[int, int]
    ) -> list[StreamEntry]:
        found = await super().read(group, positions, count=count, epochs=epochs)
        if found:
            await self._life.reach("after the read")
        return found

    async def append(self, events: Sequence[Event]) -> None:
        await self._life.reach("before the publish")
        await super().append(events)
        await self._life.reach("after the publish")

    async def ack(self, group: str, entries: Sequence[tuple[str, str]]) -> None:
        await self._life.reach("before the ack")
        await super().ack(group, entries)
        await self._life.reach("after the ack")


class Process:
    """One life of a process: two consumers, their leases, and a gate before the end of its handlers.

    *ended*: identities of events that must not be handled any more. *again*: those that were handled nevertheless.
    """

    def __init__(self, bench: Bench, name: str, ended: set[tuple[str, str]]) -> None:
        self.name = name
        self.generation = 0
        self.leases = {TOY: FixedLeases({}), JOURNAL: FixedLeases({})}
        self.gate = asyncio.Event()
        self.gate.set()
        self.life = Life()
        self.calls = 0
        self.active = 0
        self.again: list[Event] = []
        self._bench = bench
        self._ended = ended
        self._stack = AsyncExitStack()
        self._consumers: list[Consumer] = []
        self._running: list[asyncio.Task[None]] = []

    @property
    def worker(self) -> AnyWorker:
        """The toy worker of this process."""
        toy = self._bench.worker(self._handle, record=self._record, lanes=6, attempts=ATTEMPTS)
        return replace(toy, buried=lambda event, error, turn: ())

    async def take(self, generation: int) -> int:
        """Take everything over, as the keeper of the leases does; returns the last effect that was written before."""
        taken = {name: await epochs.take(self._bench.pool, name, self._partitions, self.name) for name in self.leases}
        last = await self._bench.pool.fetchval("SELECT coalesce(max(seq), 0) FROM effects")
        await publish_left(self._bench.pool, self._bench.bus, older_than_s=0)
        for name, leases in self.leases.items():
            leases.take(taken[name])
        self.generation = generation
        if not self._running:
            self._start()
        return int(last)

    def leases_run_out(self) -> None:
        """From now on it knows that its leases may be over."""
        for leases in self.leases.values():
            leases.run_out()

    @property
    def holds_all(self) -> bool:
        """Whether it holds every partition for both workers."""
        return all(len(leases.owned) == len(self._partitions) for leases in self.leases.values())

    @property
    def _partitions(self) -> Sequence[int]:
        return range(self._bench.partitions)

    def _start(self) -> None:
        client = streams.client(self._bench.redis_url, timeout_s=6.0, connections=10)
        self._stack.push_async_callback(client.aclose)
        bus = MortalStreams(Streams(client, self._bench.partitions), self.life)
        settings = Settings(ferryman_poison_deliveries=1000)  # a process that dies here is no poison's victim
        for worker in (self.worker, replace(journal.WORKER, lanes=lambda settings: 6)):
            leases = self.leases[worker.name]
            shared = make_shared(self._bench.pool, bus, leases, settings=settings, suspect=self._bench.suspect)
            consumer = Consumer(worker, None, shared, bus)
            self._consumers.append(consumer)
            self._running.append(asyncio.create_task(consumer.run()))

    async def _handle(self, event: Event, deps: object, turn: Turn) -> Outcome:
        if (event.id, event.replayid) in self._ended:
            self.again.append(event)
        self.calls += 1
        self.active += 1
        try:
            await self.life.reach("in the handler")
            await self.gate.wait()
            return await act(event, turn, event.replayid)
        finally:
            self.active -= 1

    async def _record(self, conn: Connection, rows: Sequence[Row]) -> None:
        effects = cast("Sequence[Effect]", rows)
        await record(conn, [replace(one, note=f"{self.generation}|{one.note}") for one in effects])
        await self.life.reach("before the commit")

    def look(self) -> None:
        """Raise what one of its parts has raised."""
        if not self.life.reached.is_set():
            for task in self._running:
                if task.done():
                    task.result()

    async def kill(self) -> None:
        """End it, whatever it is doing: nothing is finished, written or acknowledged any more."""
        self.life.end()
        left = set(self._running)
        while left:  # again: a cancellation that meets the answer of a store may be swallowed by its client
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=0.02)
        await self._stack.aclose()

    async def stop(self) -> None:
        """Finish what it has in hand, and end. An error of its parts is raised."""
        for consumer in self._consumers:
            consumer.stop()
        async with asyncio.timeout(20):
            await asyncio.gather(*self._running)
        await self._stack.aclose()


class Bus:
    """The streams, and what became of their entries, for both workers."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.keys: Final = stream_keys(TOPICS, range(bench.partitions))
        self._read_by: Final = {TOY: bench.keys, JOURNAL: self.keys}

    async def ensure_groups(self) -> None:
        for group, keys in self._read_by.items():
            await self._bench.bus.ensure_groups(group, keys)

    async def settled(self) -> bool:
        """Whether nothing is left to do, on the streams and in the outbox."""
        for group, keys in self._read_by.items():
            if await self._bench.bus.lag(group, keys) != (0, 0):
                return False
        return await self._bench.has("outbox", 0)

    async def all_read(self) -> bool:
        """Whether every entry has been read."""
        return (await self._bench.open_entries())[0] == 0

    async def journaled(self, type: str) -> dict[str, list[str]]:
        """Subject -> ids of the journal's events of *type*, in the journal's order."""
        found: dict[str, list[str]] = {}
        for row in await self._bench.pool.fetch(
            "SELECT subject, id FROM event_journal WHERE type = $1 ORDER BY seq", type
        ):
            found.setdefault(row["subject"], []).append(row["id"])
        return found

    async def ends(self, worker: str) -> Counter[tuple[str, str, str]]:
        """(event id, replay id, outcome) -> how often the inbox has it."""
        rows = await self._bench.pool.fetch("SELECT event_id, replay_id, outcome FROM inbox WHERE worker = $1", worker)
        return Counter((row["event_id"], row["replay_id"], row["outcome"]) for row in rows)
