"""Redis is replaced, or loses parts, while no process runs: what was accepted is done, in each person's order."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from adapters.postgres.pool import Pool, connect
from adapters.redis.client import client
from adapters.redis.streams import stream_key, stream_keys
from daemon.sandbox import orders
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from daemon.stores.embedded.servers import Server, Servers
from schemas.envelope import TOPICS
from tests.support.daemons import Running, environment, ferryman, running, synced
from tests.support.servers import fresh_database, frozen, own_servers
from tests.support.until import until

PARTITIONS: Final = 16
PERSONS: Final = 12
NOON: Final = datetime(2021, 2, 14, 12, tzinfo=UTC)
ORDERS: Final = [stream_key("orders", partition) for partition in range(PARTITIONS)]
ALL: Final = stream_keys(TOPICS, range(PARTITIONS))
FOREIGN: Final[dict[Any, Any]] = {"no": "event of ours"}


@pytest.fixture(scope="module")
def valkey() -> Iterator[Servers]:
    """A Valkey of this module alone, on a data directory that its tests may exchange."""
    with own_servers(postgres=False) as started:
        yield started


class Store:
    """The Redis of the installation, with what was kept of it."""

    def __init__(self, servers: Servers, redis: Redis, directory: Path) -> None:
        assert servers.valkey is not None
        self.server: Server = servers.valkey
        self.redis = redis
        self.directory = directory

    async def data(self) -> Path:
        found: Any = await self.redis.config_get("dir")
        return Path(found["dir"]) / "appendonlydir"

    async def keep(self, name: str) -> None:
        """Keep the state of this moment."""
        data = await self.data()
        with frozen(self.server):
            shutil.copytree(data, self.directory / name)

    async def put_back(self, name: str | None) -> None:
        """Put a kept state back; None: an empty one."""
        data = await self.data()
        await self.server.stop()
        shutil.rmtree(data)
        if name is not None:
            shutil.copytree(self.directory / name, data)
        await self.server.start()

    async def fullest(self) -> str:
        """The stream of orders with the most entries."""
        sizes = {key: await self.redis.xlen(key) for key in ORDERS}
        return max(sizes, key=lambda key: sizes[key])


Way = Callable[[Store], Awaitable[None]]


async def an_empty_server(store: Store) -> None:
    await store.put_back(None)


async def its_state_of_before(store: Store) -> None:
    await store.put_back("before")


async def one_stream_deleted(store: Store) -> None:
    await store.redis.delete(await store.fullest())


async def one_stream_deleted_with_a_foreign_entry_in_its_place(store: Store) -> None:
    key = await store.fullest()
    await store.redis.delete(key)
    await store.redis.xadd(key, FOREIGN)


async def foreign_entries_at_the_places_of_lost_ones(store: Store) -> None:
    for key in ORDERS:
        entries: Any = await store.redis.xrange(key)
        await store.redis.delete(key)
        for entry_id, _ in entries:
            await store.redis.xadd(key, FOREIGN, id=entry_id)


async def all_streams_deleted_and_the_other_keys_kept(store: Store) -> None:
    await store.redis.delete(*ALL)


async def all_keys_but_the_streams_deleted(store: Store) -> None:
    keys: Any = await store.redis.keys("*")
    await store.redis.delete(*[key for key in keys if key.decode() not in ALL])


async def the_groups_destroyed(store: Store) -> None:
    for key in ALL:
        for group in ("contact-sync", "journal"):
            await store.redis.xgroup_destroy(key, group)


async def the_tails_cut_off(store: Store) -> None:
    for key in ORDERS:
        last: Any = await store.redis.xrevrange(key, count=1)
        if last:
            await store.redis.xdel(key, last[0][0])


async def all_but_the_newest_trimmed(store: Store) -> None:
    for key in ORDERS:
        await store.redis.xtrim(key, maxlen=1, approximate=False)


async def foreign_entries_mixed_in_with_ids_of_tomorrow(store: Store) -> None:
    tomorrow = int((datetime.now(UTC) + timedelta(days=1)).timestamp() * 1000)
    for key in ORDERS:
        await store.redis.xadd(key, FOREIGN, id=f"{tomorrow}-0")


async def its_state_of_before_with_foreign_entries(store: Store) -> None:
    await store.put_back("before")
    await foreign_entries_mixed_in_with_ids_of_tomorrow(store)


WAYS: Final[Sequence[Way]] = (
    an_empty_server,
    its_state_of_before,
    foreign_entries_at_the_places_of_lost_ones,
    the_tails_cut_off,
)
MORE_WAYS: Final[Sequence[Way]] = (
    one_stream_deleted,
    one_stream_deleted_with_a_foreign_entry_in_its_place,
    all_streams_deleted_and_the_other_keys_kept,
    all_keys_but_the_streams_deleted,
    the_groups_destroyed,
    all_but_the_newest_trimmed,
    foreign_entries_mixed_in_with_ids_of_tomorrow,
    its_state_of_before_with_foreign_entries,
)


class Story:
    """Two processes at a time, to which the same persons order again and again."""

    def __init__(
        self,
        cwd: Path,
        db: Pool,
        cgb: CgbSandbox,
        store: Store,
        settings: dict[str, Any],
        sent: Sequence[Sequence[str]],
    ) -> None:
        self.cwd, self.db, self.cgb, self.store, self.settings = cwd, db, cgb, store, settings
        self.sent = [[*ids] for ids in sent]
        self._rng = random.Random(49)

    def processes(self, stack: AsyncExitStack, number: int = 2) -> Awaitable[list[Running]]:
        """So many processes, started at the same time."""
        return asyncio.gather(*(stack.enter_async_context(running(self.cwd, **self.settings)) for _ in range(number)))

    async def order(self, processes: Sequence[Running]) -> None:
        """Each person orders once more, the processes taking turns."""
        turn = cycle(processes)
        for person, sent in enumerate(self.sent):
            order = orders.make_order(
                self._rng,
                person,
                branch="il",
                order_id=f"IL210214GB{person:02d}{len(sent)}",
                phone={"code": "972", "number": f"50555{person:04d}"},
                created_at=NOON + timedelta(hours=len(sent)),
            )
            status, _ = await next(turn).post(order)
            assert status == 202
            sent.append(order["order"]["id"])

    @property
    def count(self) -> int:
        """How many orders were accepted."""
        return sum(map(len, self.sent))

    async def journaled(self) -> None:
        """Wait until Postgres knows of all orders."""

        async def all_of_them() -> bool:
            return bool(
                await self.db.fetchval(
                    "SELECT count(*) >= $1 FROM event_journal WHERE type = 'order.received'", self.count
                )
            )

        await until(all_of_them, f"{self.count} journaled orders")

    async def ends(self) -> list[tuple[str, str, str | None]]:
        """(order, outcome, reason) in the order in which contact-sync ended with them."""
        rows = await self.db.fetch(
            "SELECT j.data::jsonb #>> '{order,id}' AS id, i.outcome, i.reason FROM inbox i"
            " JOIN event_journal j ON j.id = i.event_id"
            " WHERE i.worker = 'contact-sync' AND j.type = 'order.received' ORDER BY i.at"
        )
        return [tuple(row) for row in rows]

    async def check(self) -> None:
        """Every order was accepted, has its row, and was synced in its person's order; the accounts balance."""

        async def all_ended() -> bool:
            return len(await self.ends()) >= self.count

        await until(all_ended, f"the end of {self.count} orders")
        ended = [order for order, _, _ in await self.ends()]
        assert sorted(ended) == sorted(order for sent in self.sent for order in sent)
        at = {order: place for place, order in enumerate(ended)}
        turned = [(a, b) for sent in self.sent for a, b in pairwise(sent) if at[a] > at[b]]
        assert not turned, f"{len(turned)} newer orders were done first"
        rows = await self.db.fetch("SELECT order_id, cgb_sync_status FROM orders")
        assert {row["order_id"]: row["cgb_sync_status"] for row in rows} == dict.fromkeys(ended, "synced")
        assert set(self.cgb.ledger.creates_by_contact().values()) == {1}
        code, out, _ = await ferryman("audit", cwd=self.cwd, env=environment(**self.settings))
        assert code == 0, out


@asynccontextmanager
async def told(
    cwd: Path, valkey: Servers, database_url: str, kept: Path, sent: Sequence[Sequence[str]]
) -> AsyncIterator[Story]:
    """A story on these stores that begins after the orders *sent*."""
    assert valkey.redis_url is not None
    redis = client(valkey.redis_url, timeout_s=5, connections=10)
    try:
        async with connect(database_url, size=3) as db, CgbSandbox("live") as cgb:
            cgb.switches.limit = None
            settings = {
                "REDIS_URL": valkey.redis_url,
                "DATABASE_URL": database_url,
                "FERRYMAN_ADMIN_TOKEN": "e2e-admin-token-0123456789",
                "CGB_API_URL": cgb.url,
                "CGB_API_KEY": TOKEN,
                "CGB_RATE_PER_MINUTE": 1_000_000,
                "CGB_TIMEOUT": 3000,
                "FERRYMAN_LEASE_SECONDS": 2,
            }
            yield Story(cwd, db, cgb, Store(valkey, redis, kept), settings, sent)
    finally:
        await redis.aclose()


@dataclass(frozen=True)
class Beginning:
    """*database*: its name. *kept*: where the states of Redis are."""

    database: str
    kept: Path
    sent: Sequence[Sequence[str]]


async def begin(story: Story) -> None:
    """The first orders are synced; those after them wait for CGB, in a state that is kept; more come since. Then all
    processes end, one of them by a kill."""
    async with AsyncExitStack() as stack:
        processes = await story.processes(stack)
        await story.order(processes)
        await synced(story.db, story.count)
        story.cgb.faults.add("html", status=502)
        await story.order(processes)
        await story.journaled()
        await story.store.keep("before")
        await story.order(processes)
        await story.order(processes)
        await story.journaled()
        processes[0].process.kill()
        assert await processes[1].stop() == 0
    await story.store.keep("now")


@pytest.fixture(scope="module")
def beginning(valkey: Servers, postgres_url: str, template: str) -> Iterator[Beginning]:
    """What all of these tests begin with, once."""
    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        stack = AsyncExitStack()

        async def opened() -> Beginning:
            url = await stack.enter_async_context(fresh_database(postgres_url, template))
            async with told(Path(name), valkey, url, Path(name), [()] * PERSONS) as story:
                await begin(story)
                return Beginning(urlsplit(url).path.removeprefix("/"), Path(name), story.sent)

        try:
            yield runner.run(opened())
        finally:
            runner.run(stack.aclose())


@pytest.fixture
async def story(tmp_path: Path, valkey: Servers, postgres_url: str, beginning: Beginning) -> AsyncIterator[Story]:
    """The story after its beginning: no process runs."""
    async with (
        fresh_database(postgres_url, beginning.database) as url,
        told(tmp_path, valkey, url, beginning.kept, beginning.sent) as begun,
    ):
        await begun.store.put_back("now")
        yield begun


@pytest.mark.parametrize(
    "way", [*WAYS, *(pytest.param(way, marks=pytest.mark.slow) for way in MORE_WAYS)], ids=lambda way: way.__name__
)
async def test_a_redis_replaced_while_all_processes_are_down_loses_nothing_and_turns_no_order_about(
    story: Story, way: Way
) -> None:
    await way(story.store)
    async with AsyncExitStack() as stack:
        processes = await story.processes(stack)
        await story.order(processes)
        await story.check()


async def test_a_redis_that_comes_back_after_another_one_served_in_its_place(story: Story) -> None:
    """The state of before serves, and takes in orders; then the one that was there at first is put back."""
    await story.store.put_back("before")
    story.cgb.faults.add("html", status=502)
    async with AsyncExitStack() as stack:
        processes = await story.processes(stack, 1)
        await story.order(processes)
        await story.journaled()
        processes[0].process.kill()
    await story.store.put_back("now")
    story.cgb.faults.clear()
    async with AsyncExitStack() as stack:
        processes = await story.processes(stack)
        await story.order(processes)
        await story.check()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_streams_deleted_and_foreign_entries_under_load_leave_no_accepted_order_without_a_row(
    story: Story, seed: int
) -> None:
    rng = random.Random(seed)
    story.cgb.faults.add("slow", seconds=0.01)
    async with AsyncExitStack() as stack:
        processes = await story.processes(stack)
        for _ in range(12):
            ordering = asyncio.create_task(story.order(processes))
            await asyncio.sleep(rng.random() * 0.1)
            key = rng.choice(ORDERS)
            await story.store.redis.delete(key)
            if rng.random() < 0.5:
                await story.store.redis.xadd(key, FOREIGN)
            await ordering

        async def all_have_rows() -> bool:
            return bool(await story.db.fetchval("SELECT count(*) >= $1 FROM orders", story.count))

        await until(all_have_rows, f"{story.count} rows")
