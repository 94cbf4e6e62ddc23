"""A bench of the bus: streams, groups and a toy worker on real stores, and what its consumers share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Final, Literal, cast

from redis.asyncio import Redis

from adapters.channel import Channels
from adapters.postgres.bus import days, epochs, workers
from adapters.postgres.bus.workers import EPOCH
from adapters.postgres.pool import Pool
from adapters.redis import streams
from adapters.redis.client import server_of
from adapters.redis.cluster import POLL_S, ClusterServer
from adapters.redis.streams import StreamEntry, StreamErrors, Streams, stream_key
from daemon.app import declared
from daemon.bus import journal
from daemon.bus.consumer import Consumer
from daemon.bus.leases import Leases
from daemon.bus.outcome import Row, Turn
from daemon.bus.shared import Shared
from daemon.bus.upkeep import Upkeep
from daemon.bus.worker import AnyWorker, Worker, utc_now
from daemon.settings.model import Settings
from daemon.stores.health import Stores
from daemon.telemetry.metrics import Metrics
from daemon.workers import WORKERS
from schemas.envelope import Event
from schemas.errors import FerrymanError
from tests.support.services import unwatched
from tests.support.toy import TOPIC, TOY, TYPE, Effect, Handle, Record, record, succeed

_EFFECTS: Final = (
    "CREATE TABLE IF NOT EXISTS effects (seq bigint GENERATED ALWAYS AS IDENTITY, event_id text NOT NULL,"
    " subject text NOT NULL, n int NOT NULL CHECK (n >= 0), note text NOT NULL)"
)


class FixedLeases:
    """Leases of one worker that last until a test ends them."""

    def __init__(self, owned: Mapping[int, int]) -> None:
        self.owned = dict(owned)
        self.unreadable: set[int] = set()

    def take(self, owned: Mapping[int, int]) -> None:
        """Hold *owned* from now on, and nothing else."""
        self.owned = dict(owned)
        self.unreadable.clear()

    def run_out(self) -> None:
        """From now on the owner knows that its leases may be over."""
        self.unreadable.update(self.owned)

    def held(self, worker: str) -> Mapping[int, int]:
        return dict(self.owned)

    def readable(self, worker: str) -> Mapping[int, int]:
        return {p: epoch for p, epoch in self.owned.items() if p not in self.unreadable}

    def may_begin(self, worker: str, partition: int, epoch: int) -> bool:
        return self.certain(worker, partition, epoch)

    def certain(self, worker: str, partition: int, epoch: int) -> bool:
        return self.owned.get(partition) == epoch and partition not in self.unreadable

    def lost(self, worker: str, partition: int, epoch: int = 0) -> None:
        self.owned.pop(partition, None)


def make_metrics() -> Metrics:
    """Every metric of the process, for the toy worker."""
    return Metrics(declared(WORKERS), workers=[TOY], sources=["test"], providers=["test", "other"])


def make_shared(
    pool: Pool,
    bus: Streams,
    leases: Leases,
    *,
    settings: Settings | None = None,
    channels: Channels | None = None,
    stores: Stores | None = None,
    suspect: Callable[[], None] = lambda: None,
    since: Mapping[str, datetime] | None = None,
) -> Shared:
    """What the consumers of a process share."""
    return Shared(
        settings=settings or Settings(),
        stores=stores or unwatched(),
        pool=pool,
        streams=bus,
        leases=leases,
        channels=channels or Channels(),
        metrics=make_metrics(),
        now=utc_now,
        suspect=suspect,
        since=since or {},
    )


def make_upkeep(pool: Pool, bus: Streams) -> Upkeep:
    """What runs beside the workers of a process."""
    return Upkeep(Settings(), pool, bus, [], Channels(), make_metrics())


class Bench:
    """Streams, groups and the table of effects; runs consumers of a toy worker on them."""

    def __init__(self, redis_url: str, pool: Pool, commands: Redis, partitions: int) -> None:
        self.redis_url = redis_url
        self.pool = pool
        self.redis = commands
        self.partitions = partitions
        self.bus = Streams(commands, partitions)
        self.stores = unwatched()
        self._mending: list[asyncio.Future[None]] = []

    @property
    def keys(self) -> list[str]:
        """The streams that the toy worker reads."""
        return [stream_key(TOPIC, p) for p in range(self.partitions)]

    async def publish(self, events: Iterable[Event]) -> None:
        """Append *events* in their order."""
        await self.bus.append(list(events))

    async def publish_lost(self, events: Iterable[Event]) -> None:
        """Append *events* as recovery does what was lost."""
        await self.bus.restore(list(events))

    async def publish_fields(self, partition: int, fields: Mapping[Any, Any]) -> None:
        """Append an entry as another program would."""
        await self.redis.xadd(stream_key(TOPIC, partition), cast("Any", dict(fields)))

    def worker(
        self,
        handle: Handle = succeed,
        *,
        record: Record = record,
        lanes: int = 50,
        attempts: int = 8,
        deadline_s: float = 60.0,
        on_uncertain: Literal["retry", "hold"] = "hold",
        channels: tuple[str, ...] = (),
        buried: Callable[[Event, FerrymanError, Turn], Sequence[Row]] = lambda event, error, turn: (),
        poisoned: Callable[[str, Turn], Sequence[Row]] = lambda event_id, turn: (),
        waits: Callable[[Event, str, Turn], Sequence[Row]] = lambda event, why, turn: (),
    ) -> AnyWorker:
        """A toy worker that reads one topic."""
        return Worker(
            name=TOY,
            reads=(TOPIC,),
            types=frozenset({TYPE}),
            begins="everything",
            handle=handle,
            record=record,
            buried=buried,
            poisoned=poisoned,
            waits=waits,
            lanes=lambda settings: lanes,
            attempts=lambda settings: attempts,
            deadline_s=lambda settings: deadline_s,
            on_uncertain=on_uncertain,
            channels=channels,
        )

    async def take_leases(self, owner: str = "me") -> FixedLeases:
        """Every partition, under new epochs."""
        return FixedLeases(await epochs.take(self.pool, TOY, range(self.partitions), owner))

    @asynccontextmanager
    async def consumer(
        self,
        worker: AnyWorker | None = None,
        *,
        leases: Leases | None = None,
        max_in_flight: int = 10_000,
        poison: int = 5,
        channels: Channels | None = None,
        deps: object = None,
        since: datetime = EPOCH,
    ) -> AsyncIterator[Consumer]:
        """A consumer of *worker*, not yet running."""
        async with AsyncExitStack() as stack:
            reads = streams.client(self.redis_url, timeout_s=6.0, connections=1)
            stack.push_async_callback(reads.aclose)
            shared = make_shared(
                self.pool,
                self.bus,
                leases or await self.take_leases(),
                settings=Settings(ferryman_max_in_flight=max_in_flight, ferryman_poison_deliveries=poison),
                channels=channels,
                stores=self.stores,
                suspect=self.suspect,
                since={TOY: since},
            )
            yield Consumer(worker or self.worker(), deps, shared, Streams(reads, self.partitions))

    def suspect(self) -> None:
        """Mends as the daemon's recovery does where nothing but groups is gone."""
        self._mending.append(asyncio.ensure_future(self.bus.ensure_groups(TOY, self.keys)))

    @asynccontextmanager
    async def running(self, worker: AnyWorker | None = None, **options: Any) -> AsyncIterator[Consumer]:
        """A consumer at work; stopped and drained in the end. An error of its parts is the test's."""
        async with self.consumer(worker, **options) as consumer, run(consumer, self.redis):
            yield consumer

    async def read_without_ack(self, count: int = 1000) -> list[StreamEntry]:
        """Take new entries as a process does that is killed before it acknowledges."""
        return await self.bus.read(TOY, dict.fromkeys(self.keys, ">"), count=count, epochs={})

    async def effects(self, order: str = "seq") -> list[Effect]:
        """All effects, in the order of their commits."""
        rows = await self.pool.fetch(f"SELECT event_id, subject, n, note FROM effects ORDER BY {order}")
        return [Effect(*row) for row in rows]

    async def numbers(self) -> dict[str, list[int]]:
        """Subject -> the numbers of its effects, in the order of their commits."""
        found: dict[str, list[int]] = {}
        for one in await self.effects():
            found.setdefault(one.subject, []).append(one.n)
        return found

    async def outcomes(self) -> dict[str, str]:
        """Event id -> how it ended."""
        rows = await self.pool.fetch("SELECT event_id, outcome FROM inbox WHERE worker = $1", TOY)
        assert len({row["event_id"] for row in rows}) == len(rows), "an event ended twice"
        return {row["event_id"]: row["outcome"] for row in rows}

    async def is_ended(self, events: int) -> bool:
        """Whether so many events have ended."""
        return len(await self.outcomes()) >= events

    async def count(self, table: str) -> int:
        """How many rows *table* has."""
        return int(await self.pool.fetchval(f"SELECT count(*) FROM {table}"))

    async def has(self, table: str, rows: int) -> bool:
        """Whether *table* has so many rows."""
        return await self.count(table) == rows

    async def command(self, *words: str) -> None:
        """Send a command to the server past the product; on a cluster, without a key, to every primary."""
        if words[0] not in ("CONFIG", "FLUSHALL"):
            await cast("Any", self.redis).execute_command(*words)
            return
        for node in await self.bus.server.nodes():
            if node.primary:
                await node.ask(" ".join(words))

    async def reads_made(self) -> int:
        """How many reads of groups the servers have seen since CONFIG RESETSTAT."""
        found = await self.bus.server.ask_each("INFO", "commandstats")
        return sum(int(stats["cmdstat_xreadgroup"]["calls"]) for stats in found if "cmdstat_xreadgroup" in stats)

    @property
    def reads_a_second(self) -> float:
        """How many an idle consumer makes at most: it blocks, or on a cluster asks for every partition again."""
        return 1.5 * self.partitions / POLL_S if isinstance(self.bus.server, ClusterServer) else 10

    async def waits(self) -> bool:
        """Whether a reader waits for something new. On a cluster none does for long."""
        if isinstance(self.bus.server, ClusterServer):
            return True
        info: Any = await self.redis.info("clients")
        return int(info["blocked_clients"]) > 0

    async def attempts(self) -> dict[str, int]:
        """Event id -> counted attempts of the events that are still open."""
        return {row["event_id"]: row["attempts"] for row in await self.pool.fetch("SELECT * FROM attempts")}

    async def open_entries(self) -> tuple[int, int]:
        """(entries not yet read, entries read and not acknowledged)."""
        return await self.bus.lag(TOY, self.keys)

    async def settled(self) -> bool:
        """Whether nothing is left to do."""
        return await self.open_entries() == (0, 0)

    async def entries(self, topic: str) -> list[tuple[int, dict[str, str]]]:
        """(partition, fields) of every entry of *topic*, in order within a partition."""
        found = []
        for p in range(self.partitions):
            rows: Any = await self.redis.xrange(stream_key(topic, p))
            found += [(p, {k.decode(): v.decode() for k, v in fields.items()}) for _, fields in rows]
        return found


@asynccontextmanager
async def run(consumer: Consumer, redis: Redis | None = None) -> AsyncIterator[None]:
    """Run *consumer* meanwhile, and stop it in the end. An error of its parts is raised here, too.

    *redis*: where it reads; its last read is then not waited for.
    """
    task = asyncio.create_task(consumer.run())
    try:
        yield
    finally:
        consumer.stop()
        if redis is not None:
            await end_reads(redis)
        async with asyncio.timeout(20):
            await task


async def end_reads(redis: Redis) -> None:
    """End the reads that wait for entries, as when their time is over. On a cluster none waits."""
    if isinstance(server_of(redis), ClusterServer):
        return
    with suppress(*StreamErrors):
        clients: Any = await redis.client_list()
        for client in clients:
            if client["cmd"] == "xread" and "b" in client["flags"]:
                await cast("Any", redis).client_unblock(client["id"])


@asynccontextmanager
async def open_bench(redis_url: str, pool: Pool, *, partitions: int = 4) -> AsyncIterator[Bench]:
    """A bench on these stores, with its groups and its table made."""
    commands = streams.client(redis_url, timeout_s=2.0)
    try:
        bench = Bench(redis_url, pool, commands, partitions)
        await pool.execute(_EFFECTS)
        await days.ensure_days(pool)
        await bench.bus.ensure_groups(TOY, bench.keys)
        await workers.register(pool, [bench.worker().entry, journal.WORKER.entry], [TOY, journal.WORKER.name])
        yield bench
    finally:
        await commands.aclose()
