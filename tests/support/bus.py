"""What the tests of the bus share: invented events, a toy worker with its table, a bench that runs it, clocks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Literal, TypeAlias, cast

import orjson
from redis.asyncio import Redis

from adapters.channel import Channels
from adapters.postgres.bus import days, epochs
from adapters.postgres.pool import Connection, Pool
from adapters.redis import streams
from adapters.redis.client import ask_each, cluster
from adapters.redis.lease_table import LeaseTable, Pair
from adapters.redis.streams import POLL_S, Delivery, StreamErrors, Streams, stream_key
from daemon.app import declared
from daemon.bus.consumer import Consumer
from daemon.bus.leases import LeaseKeeper, Leases
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.shared import Shared
from daemon.bus.upkeep import Upkeep, publish_left
from daemon.bus.worker import AnyWorker, Worker, utc_now
from daemon.settings.model import Settings
from daemon.stores.health import Stores
from daemon.telemetry.metrics import Metrics
from daemon.workers import WORKERS
from schemas.envelope import Event, event_id, to_fields
from schemas.errors import FerrymanError
from schemas.partitions import partition_of
from tests.support.services import unwatched

TOY: Final = "toy"
TOPIC: Final = "orders"
TYPE: Final = "order.received"
NOON: Final = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)

Handle: TypeAlias = Callable[[Event, Any, Turn], Awaitable[Outcome]]
Record: TypeAlias = Callable[[Connection, Sequence[Row]], Awaitable[None]]

_EFFECTS: Final = (
    "CREATE TABLE IF NOT EXISTS effects (seq bigint GENERATED ALWAYS AS IDENTITY, event_id text NOT NULL,"
    " subject text NOT NULL, n int NOT NULL CHECK (n >= 0), note text NOT NULL)"
)


def make_event(subject: str, n: int = 0, *, id: str = "", type: str = TYPE, **data: Any) -> Event:
    """The *n*-th event of the key *subject*."""
    body = orjson.dumps({"n": n} | data)
    return Event(
        id=id or event_id("test", subject, str(n)), type=type, source="test", subject=subject, time=NOON, data=body
    )


def make_events(keys: int, each: int) -> list[Event]:
    """*each* events of each of *keys* keys, those of different keys mixed."""
    return [make_event(f"key-{k}", n) for n in range(each) for k in range(keys)]


@dataclass(frozen=True, slots=True)
class Effect:
    """A row of the table `effects`, which has no unique key: what is done twice is there twice."""

    event_id: str
    subject: str
    n: int
    note: str = ""


def effect(event: Event, note: str = "") -> Effect:
    """The effect of *event*."""
    return Effect(event.id, event.subject, int(event.json()["n"]), note)


async def record(conn: Connection, rows: Sequence[Row]) -> None:
    """Write effects. A negative n is refused by the table."""
    effects = cast("Sequence[Effect]", rows)
    await conn.executemany(
        "INSERT INTO effects (event_id, subject, n, note) VALUES ($1, $2, $3, $4)",
        [(e.event_id, e.subject, e.n, e.note) for e in effects],
    )


async def succeed(event: Event, deps: object, turn: Turn) -> Outcome:
    """A handler that has one effect per event."""
    return Done(rows=(effect(event),))


def failing(error: Exception) -> Handle:
    """A handler that always raises *error*."""

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        raise error

    return handle


def napping(seconds: float) -> Handle:
    """A handler that has its effect after *seconds*."""

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        await asyncio.sleep(seconds)
        return await succeed(event, deps, turn)

    return handle


def gated(gate: asyncio.Event) -> Handle:
    """A handler that waits at *gate*, and then has its effect."""

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        await gate.wait()
        return await succeed(event, deps, turn)

    return handle


class Broken:
    """A `record` that fails after it has written, until it is mended."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.calls = 0

    async def __call__(self, conn: Connection, rows: Sequence[Row]) -> None:
        self.calls += 1
        await record(conn, rows)
        if self.error is not None:
            raise self.error


async def emit_one(event: Event, deps: object, turn: Turn) -> Outcome:
    """A handler that has one effect and emits one event."""
    made = event.emit("contact.synced", 0, {"n": event.json()["n"]}, time=turn.now)
    return Done(rows=(effect(event),), emit=(made,))


async def until(
    condition: Callable[[], bool | Awaitable[bool]], *, within_s: float = 30.0, every_s: float = 0.02
) -> float:
    """Return when *condition* holds, with the seconds it took. Raises: TimeoutError."""
    began = time.monotonic()
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return time.monotonic() - began
        if time.monotonic() - began > within_s:
            raise TimeoutError(f"not so within {within_s} s: {condition}")
        await asyncio.sleep(every_s)


class FakeLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers follow *now*."""

    now = 1000.0

    def time(self) -> float:
        return self.now


class FixedLeases:
    """Leases of one worker that last until a test ends them."""

    def __init__(self, owned: Mapping[int, int]) -> None:
        self.owned = dict(owned)
        self.unreadable: set[int] = set()

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

    async def publish_fields(self, partition: int, fields: Mapping[Any, Any]) -> None:
        """Append an entry as a stranger would."""
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
    ) -> AnyWorker:
        """A toy worker that reads one topic."""
        return Worker(
            name=TOY,
            reads=(TOPIC,),
            types=frozenset({TYPE}),
            handle=handle,
            record=record,
            buried=buried,
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

    async def read_without_ack(self, count: int = 1000) -> list[Delivery]:
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
        """Do something to the server behind everybody's back; on a cluster, without a key, to every primary."""
        if (parted := cluster(self.redis)) is None or words[0] not in ("CONFIG", "FLUSHALL"):
            await cast("Any", self.redis).execute_command(*words)
            return
        for node in parted.get_primaries():
            await parted.execute_command(" ".join(words), target_nodes=node)

    async def reads_made(self) -> int:
        """How many reads of groups the servers have seen since CONFIG RESETSTAT."""
        found = await ask_each(self.redis, "INFO", "commandstats")
        return sum(int(stats["cmdstat_xreadgroup"]["calls"]) for stats in found if "cmdstat_xreadgroup" in stats)

    @property
    def reads_a_second(self) -> float:
        """How many an idle consumer makes at most: it blocks, or on a cluster asks for every partition again."""
        return 10 if cluster(self.redis) is None else 1.5 * self.partitions / POLL_S

    async def waits(self) -> bool:
        """Whether a reader waits for something new. On a cluster none does for long."""
        if cluster(self.redis) is not None:
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
    if cluster(redis) is not None:
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
        yield bench
    finally:
        await commands.aclose()


class Member:
    """A process as the leases see it: its own table and keeper, and, when asked for, a consumer on what it holds."""

    def __init__(self, bench: Bench, name: str, *, ttl_s: float, workers: Sequence[str] = (TOY,)) -> None:
        self.name = name
        self.bench = bench
        self.pairs = [(worker, p) for worker in (TOY, "toy-2") for p in range(bench.partitions)]
        self.table = LeaseTable(bench.redis, name, workers, ttl_s)
        self.consumer: Consumer | None = None
        self.keeper = LeaseKeeper(
            self.table,
            bench.pool,
            me=name,
            pairs=self.pairs,
            ttl_s=ttl_s,
            drain=self._drained,
            publish_left=partial(publish_left, bench.pool, bench.bus, older_than_s=0),
        )
        self._stack = AsyncExitStack()
        self._working: asyncio.Task[None] | None = None

    def _drained(self, pair: Pair) -> bool:
        return self.consumer is None or pair[0] != TOY or self.consumer.hand_over(pair[1])

    async def start(self, worker: AnyWorker | None = None) -> None:
        """Take part; with *worker*, work as well."""
        if worker is not None:
            self.consumer = await self._stack.enter_async_context(self.bench.consumer(worker, leases=self.keeper))
            self._working = asyncio.create_task(self.consumer.run())
        self.keeper.start()

    @property
    def epochs(self) -> dict[Pair, int]:
        """What it may write under."""
        return {(w, p): epoch for w in (TOY, "toy-2") for p, epoch in self.keeper.held(w).items()}

    @property
    def readable(self) -> set[Pair]:
        """What it may begin work on."""
        return {(w, p) for w in (TOY, "toy-2") for p in self.keeper.readable(w)}

    def freeze(self) -> None:
        """Renew nothing any more, and know nothing of it: what a stopped process or a lost network looks like."""
        self.keeper.cut()

    async def stop_working(self) -> None:
        """Finish what is in hand. An error of its parts is raised."""
        if self.consumer is not None and self._working is not None:
            self.consumer.stop()
            async with asyncio.timeout(20):
                await self._working

    async def stop(self) -> None:
        """An orderly end, as the daemon does it."""
        if self.consumer is not None:
            self.consumer.stop()
        await self.keeper.retire()
        await self.stop_working()
        await self.end()
        await self.keeper.leave()

    async def end(self) -> None:
        """Leave nothing running. An error of the keeper is raised."""
        if self._working is not None and not self._working.done():
            self._working.cancel()
        self.keeper.cut()
        parts = [self.keeper.stopped(), *([self._working] if self._working else [])]
        results = await asyncio.gather(*parts, return_exceptions=True)
        await self._stack.aclose()
        for result in results:
            if isinstance(result, Exception):
                raise result


def fields_of(event: Event, **changed: Any) -> dict[Any, Any]:
    """The stream fields of *event*; a change to None takes the field away."""
    parts = to_fields(event)
    fields: dict[Any, Any] = {**dict(zip(parts[::2], parts[1::2], strict=True)), **changed}
    return {name: value for name, value in fields.items() if value is not None}


def home_of(subject: str, partitions: int) -> int:
    """The partition of *subject*."""
    return partition_of(subject, partitions)


class Journaled:
    """A handler that notes what it is called with, and then does what *then* says."""

    def __init__(self, then: Handle = succeed) -> None:
        self.calls: list[tuple[str, int]] = []
        self.turns: list[Turn] = []
        self.active = 0
        self.most = 0
        self._then = then

    async def __call__(self, event: Event, deps: object, turn: Turn) -> Outcome:
        self.calls.append((event.subject, int(event.json()["n"])))
        self.turns.append(turn)
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            return await self._then(event, deps, turn)
        finally:
            self.active -= 1
