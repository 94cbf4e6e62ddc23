"""What was accepted survives the loss of either store, in its order; with both away nothing is accepted.

The servers here are this file's own, since they are killed and started again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from adapters.postgres import pool
from adapters.postgres.bus import payloads, spool
from adapters.redis import durability, streams
from adapters.redis.streams import NotDurable, Streams, stream_key
from daemon.bus import batcher
from daemon.bus.batcher import Batcher, Full
from daemon.bus.intake import Intake, NotAccepted
from daemon.stores.embedded.servers import Server, Servers
from daemon.stores.health import Stores, postgres_watch, redis_watch
from daemon.stores.membership import Membership
from schemas.envelope import Event, event_id, from_fields
from schemas.errors import Malformed
from tests.support.servers import migrate_at, own_servers
from tests.support.services import services
from tests.support.until import until

PATIENCE_S = 60.0
TIME = datetime(2031, 2, 14, 9, 0, tzinfo=UTC)
KEY = stream_key("orders", 0)


@pytest.fixture(scope="module")
def own() -> Iterator[Servers]:
    """Servers of this module alone, which its tests kill. They do not sync, for speed."""
    with own_servers(fsync=False) as servers, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(migrate_at(str(servers.database_url)))
        yield servers


@pytest.fixture
async def valkey(own: Servers) -> Server:
    """Running, empty, and as it was configured at first."""
    assert own.valkey is not None
    if own.valkey.pid is not None:
        own.valkey.kill()  # what an earlier test configured goes with it
    await own.valkey.start()
    redis = streams.client(str(own.redis_url), timeout_s=5)
    await redis.flushall()
    await redis.aclose()
    return own.valkey


@pytest.fixture
async def postgres(own: Servers) -> Server:
    """Running, with an empty spool."""
    assert own.postgres is not None
    if own.postgres.pid is None:
        await own.postgres.start()
    conn = await asyncpg.connect(own.database_url)
    await conn.execute("TRUNCATE spool, payloads")
    await conn.close()
    return own.postgres


@pytest.fixture
async def redis(own: Servers, valkey: Server) -> AsyncIterator[Redis]:
    client = streams.client(str(own.redis_url), timeout_s=2)
    yield client
    await client.aclose()


@pytest.fixture
async def db(own: Servers, postgres: Server) -> AsyncIterator[pool.Pool]:
    async with pool.connect(str(own.database_url), size=5) as connected:
        yield connected


@pytest.fixture
async def stores(own: Servers, valkey: Server, postgres: Server) -> AsyncIterator[Stores]:
    """The watchers of the stores, at work."""
    client = streams.client(str(own.redis_url), timeout_s=2, connections=2)
    membership = Membership(str(own.database_url))
    watched = Stores(redis_watch(client), postgres_watch(membership.look))
    async with services(watched.redis, watched.postgres):
        yield watched
    membership.close()
    await client.aclose()


def event(n: int, *, data: bytes = b'{"order":{}}') -> Event:
    """The *n*-th event; all are about one person, so their order counts."""
    return Event(
        id=event_id("orders", str(n)),
        type="order.received",
        source="orders",
        subject="+97250555012",
        time=TIME,
        data=data,
        traceparent=str(n),  # tells the number in what is read back
    )


async def on_stream(redis: Redis) -> list[int]:
    entries: Any = await redis.xrange(KEY)
    return [int(from_fields(fields).traceparent) for _, fields in entries]


async def spooled(db: pool.Pool) -> list[int]:
    return [int(found.traceparent) for _, found in await spool.oldest(db, 10_000)]


def once(numbers: list[int]) -> list[int]:
    """*numbers* without repetitions: the inbox knows a second copy by its id."""
    return list(dict.fromkeys(numbers))


def goes_to(intake: Intake, place: str) -> bool:
    return intake.accepting == place


@asynccontextmanager
async def running(intake: Intake) -> AsyncIterator[Intake]:
    """*intake* with its look at the spool, after the first one."""
    async with services(intake):
        async with asyncio.timeout(PATIENCE_S):
            await intake.looked.wait()
        yield intake


async def test_with_redis_up_events_go_to_the_stream_and_nothing_is_spooled(
    redis: Redis, db: pool.Pool, stores: Stores
) -> None:
    async with running(Intake(Streams(redis, 1), db, stores)) as intake:
        assert intake.accepting == "redis"
        assert await intake.append([event(n) for n in range(5)]) is False
        assert await on_stream(redis) == [0, 1, 2, 3, 4]
        assert await spooled(db) == []


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_with_redis_down_events_are_spooled_and_reach_the_stream_in_order_when_it_is_back(
    redis: Redis, db: pool.Pool, stores: Stores, valkey: Server, end: str
) -> None:
    async with running(Intake(Streams(redis, 1), db, stores)) as intake:
        await intake.append([event(0)])
        if end == "kill":
            valkey.kill()
        else:
            await valkey.stop()
        for n in range(1, 20):
            assert await intake.append([event(n)]) is True
        assert goes_to(intake, "spool")
        assert once(await spooled(db)) == list(range(1, 20))
        await valkey.start()
        n = 20
        async with asyncio.timeout(PATIENCE_S / 2):
            while await intake.append([event(n)]):  # newer ones come while the spool is brought over
                n += 1
        assert goes_to(intake, "redis")
        assert await spooled(db) == []
        seen = await on_stream(redis)
    if end == "kill":
        assert seen[0] == 0 or seen[0] == 1  # what a kill without fsync may cost is the server's affair
    assert once(seen)[-n:] == list(range(1, n + 1))


async def test_the_spool_is_drained_also_while_new_events_never_stop_coming(
    redis: Redis, db: pool.Pool, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spool.append(db, [event(0)])
    intake = Intake(Streams(redis, 1), db, stores)
    look, looks, coming = spool.oldest, 0, list[asyncio.Task[bool]]()

    async def one_more_each_time(pool: pool.Pool, limit: int) -> list[tuple[int, Event]]:
        nonlocal looks
        looks += 1
        if looks < 20:
            coming.append(asyncio.create_task(intake.append([event(looks)])))
            await asyncio.wait(coming[-1:], timeout=0.05)  # spooled by then, unless it must wait for the drain
        return await look(pool, limit)

    monkeypatch.setattr(spool, "oldest", one_more_each_time)
    async with running(intake):
        await asyncio.wait(coming)
        assert looks < 5
        assert await look(db, 1) == []
        assert await on_stream(redis) == list(range(looks + 1))


async def test_requests_in_flight_over_an_outage_are_all_kept(
    redis: Redis, db: pool.Pool, stores: Stores, valkey: Server
) -> None:
    async with running(Intake(Streams(redis, 1), db, stores)) as intake:
        accepted: list[int] = []
        stop = asyncio.Event()

        async def sender(first: int) -> None:
            n = first
            while not stop.is_set():
                await intake.append([event(n)])
                accepted.append(n)
                n += 100

        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            senders = [group.create_task(sender(first)) for first in range(8)]
            await until(lambda: len(accepted) > 50)
            before = len(accepted)
            await valkey.stop()
            await until(lambda: len(accepted) > before + 100 and goes_to(intake, "spool"))
            await valkey.start()
            await until(lambda: goes_to(intake, "redis"))
            after = len(accepted)
            await until(lambda: len(accepted) > after + 50)
            stop.set()
        assert all(task.done() for task in senders)
        seen = once(await on_stream(redis))
        assert await spooled(db) == []
    assert len(accepted) == len(set(accepted))
    assert set(accepted) == set(seen)
    for first in range(8):  # one sender, which waits for each answer, is never overtaken by itself
        own_numbers = [n for n in seen if n % 100 == first]
        assert own_numbers == sorted(own_numbers)


async def test_an_event_that_came_while_the_last_of_the_spool_was_drained_does_not_stay_behind(
    redis: Redis, db: pool.Pool, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = Streams(redis, 1)
    intake = Intake(bus, db, stores)
    late: list[asyncio.Task[bool]] = []
    look = bus.server.look

    async def look_while_one_comes() -> None:
        late.append(asyncio.create_task(intake.append([event(len(late))])))
        for _ in range(10):
            await asyncio.sleep(0)  # it waits for the drain now
        await look()

    monkeypatch.setattr(bus.server, "look", look_while_one_comes)
    async with running(intake):
        assert intake.accepting == "redis"
        await until(lambda: all(task.done() for task in late))
        await until(on_the_stream(redis, {0}))
        assert await spooled(db) == []


def on_the_stream(redis: Redis, wanted: set[int]) -> Callable[[], Awaitable[bool]]:
    async def all_there() -> bool:
        return wanted <= set(await on_stream(redis))

    return all_there


async def test_with_both_stores_down_nothing_is_accepted_and_nothing_is_kept(
    own: Servers, redis: Redis, db: pool.Pool, stores: Stores, valkey: Server, postgres: Server
) -> None:
    async with running(Intake(Streams(redis, 1), db, stores)) as intake:
        await intake.append([event(0)])
        await asyncio.gather(valkey.stop(), postgres.stop())
        for n in (1, 2, 3):
            with pytest.raises(NotAccepted) as caught:
                await intake.append([event(n)])
            assert caught.value.retry_after_s
        assert intake.accepting == "no"
        await asyncio.gather(valkey.start(), postgres.start())
        await until(lambda: goes_to(intake, "redis"))
        assert await intake.append([event(4)]) is False
        assert await on_stream(redis) == [0, 4]
        assert await spooled(db) == []


async def test_with_postgres_down_events_still_go_to_the_stream(
    redis: Redis, db: pool.Pool, stores: Stores, postgres: Server
) -> None:
    async with running(Intake(Streams(redis, 1), db, stores)) as intake:
        await postgres.stop()
        large = event(1, data=b'{"order":"' + b"x" * payloads.LARGE_BYTES + b'"}')
        assert await intake.append([event(0)]) is False
        assert await intake.append([large]) is False
        assert await intake.append([event(2)]) is False
        assert intake.accepting == "redis"
        assert await on_stream(redis) == [0, 1, 2]
        entries: Any = await redis.xrange(KEY)
        assert from_fields(entries[1][1]).data == large.data  # whole, for want of a place to put it


async def test_redis_back_while_postgres_is_still_down_is_enough_to_accept(
    redis: Redis, db: pool.Pool, stores: Stores, valkey: Server, postgres: Server
) -> None:
    async with running(Intake(Streams(redis, 1), db, stores)) as intake:
        await postgres.stop()
        await until(lambda: pool_is_empty(db))
        await valkey.stop()
        with pytest.raises(NotAccepted):
            await intake.append([event(0)])
        await valkey.start()
        await until(lambda: goes_to(intake, "redis"))
        assert await intake.append([event(1)]) is False
        assert await on_stream(redis) == [1]


async def pool_is_empty(db: pool.Pool) -> bool:
    """Whether *db* knows that its connections are gone, so that the next statement cannot have been executed."""
    return db.get_size() == 0


async def test_a_start_with_a_spool_brings_it_over_before_anything_newer(
    redis: Redis, db: pool.Pool, stores: Stores
) -> None:
    await spool.append(db, [event(n) for n in range(450)])  # more than two batches
    intake = Intake(Streams(redis, 1), db, stores)
    assert intake.accepting == "spool"
    assert await intake.append([event(450)]) is True  # behind them, though Redis answers
    assert await on_stream(redis) == []
    async with running(intake):
        await until(lambda: goes_to(intake, "redis"))
        assert await intake.append([event(451)]) is False
        assert await on_stream(redis) == list(range(452))
        assert await spooled(db) == []


async def test_a_start_with_a_spool_and_without_redis_waits_for_it(
    redis: Redis, db: pool.Pool, stores: Stores, valkey: Server
) -> None:
    await spool.append(db, [event(0)])
    await valkey.stop()
    async with running(Intake(Streams(redis, 1), db, stores)) as intake:
        assert await intake.append([event(1)]) is True
        assert await spooled(db) == [0, 1]
        await valkey.start()
        await until(lambda: goes_to(intake, "redis"))
        assert await on_stream(redis) == [0, 1]


async def test_a_large_payload_is_replaced_by_a_reference_also_on_its_way_through_the_spool(
    redis: Redis, db: pool.Pool, stores: Stores
) -> None:
    whole = b'{"order":"' + b"x" * payloads.LARGE_BYTES + b'"}'
    await spool.append(db, [event(0, data=whole), event(1)])
    async with running(Intake(Streams(redis, 1), db, stores)) as intake:
        await until(lambda: goes_to(intake, "redis"))
        await intake.append([event(2, data=whole), event(3)])
    entries: Any = await redis.xrange(KEY)
    found = [from_fields(fields) for _, fields in entries]
    assert [bool(entry.dataref) for entry in found] == [True, False, True, False]
    assert [entry.data for entry in found] == [b"", event(1).data, b"", event(3).data]
    kept = await payloads.fetch(db, [(entry.id, entry.dataref) for entry in found if entry.dataref])
    assert set(kept.values()) == {whole}
    assert len(kept) == 2


# how an append is known to be on disk


async def configure(redis: Redis, **settings: str) -> None:
    for name, value in settings.items():
        await redis.config_set(name, value)


async def test_an_append_waits_for_the_disk_where_the_server_does_not(
    redis: Redis, db: pool.Pool, stores: Stores
) -> None:
    async def waits() -> int:
        stats: Any = await redis.info("commandstats")
        return int(stats["cmdstat_waitaof"]["calls"])

    await configure(redis, appendfsync="everysec")
    async with running(Intake(Streams(redis, 1, "waitaof"), db, stores)) as intake:
        assert await intake.append([event(0)]) is False  # with it the server learns the script
        before = await waits()
        for n in range(1, 4):
            assert await intake.append([event(n)]) is False
        assert await on_stream(redis) == [0, 1, 2, 3]
    assert await waits() == before + 3


async def test_what_the_server_cannot_confirm_is_spooled_and_accepted(
    redis: Redis, db: pool.Pool, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(Intake(Streams(redis, 1, "waitaof"), db, stores)) as intake:  # runs with appendfsync no
        await configure(redis, appendfsync="no")
        with pytest.raises(NotDurable):
            await Streams(redis, 1, "waitaof").append([event(0)])
        assert await intake.append([event(1)]) is True
        assert intake.accepting == "spool"
        assert once(await spooled(db)) == [1]
        await configure(redis, appendfsync="always")
        await until(lambda: goes_to(intake, "redis"))
        assert await spooled(db) == []
    assert once(await on_stream(redis)) == [0, 1]


async def test_a_full_redis_that_refuses_writes_makes_the_spool_take_them(
    redis: Redis, db: pool.Pool, stores: Stores
) -> None:
    async with running(Intake(Streams(redis, 1), db, stores)) as intake:
        await configure(redis, maxmemory="1")
        assert await intake.append([event(0)]) is True
        await configure(redis, maxmemory="0")
        await until(lambda: goes_to(intake, "redis"))
        assert await on_stream(redis) == [0]


@pytest.mark.parametrize(
    ("appendonly", "appendfsync", "found"),
    [
        ("yes", "always", "always"),
        ("yes", "everysec", "waitaof"),
        ("no", "always", "none"),
        ("no", "everysec", "none"),
    ],
)
@pytest.mark.parametrize("config", ["readable", "forbidden"])
async def test_how_durable_an_append_is_follows_from_the_server(
    own: Servers, redis: Redis, appendonly: str, appendfsync: str, found: str, config: str
) -> None:
    await configure(redis, appendonly=appendonly, appendfsync=appendfsync)
    if config == "readable":
        assert await durability.of(redis) == found
        return
    managed = await forbidden(own, redis)
    # without a look at CONFIG the server is asked for the confirmation, which is right for "always" too
    assert await durability.of(managed) == ("none" if appendonly == "no" else "waitaof")
    if appendonly == "yes":
        await Streams(managed, 1, "waitaof").append([event(0)])
        assert await on_stream(redis) == [0]
    await managed.aclose()


async def forbidden(own: Servers, redis: Redis) -> Redis:
    """A client that may not use CONFIG, as on managed servers."""
    commands: Any = redis
    await commands.execute_command("ACL", "SETUSER", "managed", "on", ">sesame", "~*", "+@all", "-config")
    return streams.client(str(own.redis_url).replace("unix://", "unix://managed:sesame@"), timeout_s=2)


async def test_what_one_process_has_spooled_is_not_overtaken_by_what_another_takes_in(
    redis: Redis, db: pool.Pool, stores: Stores
) -> None:
    async with (
        running(Intake(Streams(redis, 1), db, stores)) as holding,
        running(Intake(Streams(redis, 1), db, stores)) as other,
    ):
        for n in range(0, 30, 3):
            assert await other.append([event(n)]) is False  # it knows now, and for a while, that the spool is empty
            holding.hold()
            assert await holding.append([event(n + 1)]) is True
            assert await other.append([event(n + 2)]) is True
            holding.release()
            await until(lambda: goes_to(holding, "redis") and goes_to(other, "redis"))
        assert once(await on_stream(redis)) == list(range(30))


async def test_the_eviction_policy_is_read_and_unknown_where_it_is_forbidden(own: Servers, redis: Redis) -> None:
    assert await durability.eviction_policy(redis) == "noeviction"
    await configure(redis, **{"maxmemory-policy": "allkeys-lru"})
    assert await durability.eviction_policy(redis) == "allkeys-lru"
    managed = await forbidden(own, redis)
    assert await durability.eviction_policy(managed) is None
    await managed.aclose()


async def test_stopping_waits_for_what_was_taken_in(redis: Redis, db: pool.Pool, stores: Stores) -> None:
    bus = Streams(redis, 1)
    async with running(Intake(bus, db, stores)) as intake:
        tasks = [asyncio.create_task(intake.append([event(n)])) for n in range(500)]
        await asyncio.sleep(0)  # they have been handed in
        async with asyncio.timeout(PATIENCE_S):
            await intake.drained()
        assert await on_stream(redis) == list(range(500))
        assert await asyncio.gather(*tasks) == [False] * 500


async def test_a_caller_that_goes_away_takes_no_other_with_it(redis: Redis, db: pool.Pool, stores: Stores) -> None:
    async with running(Intake(Streams(redis, 1), db, stores)) as intake:
        tasks = [asyncio.create_task(intake.append([event(n)])) for n in range(20)]
        await asyncio.sleep(0)
        for gone in tasks[::3]:
            gone.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [result for result in results if not isinstance(result, asyncio.CancelledError)] == [False] * 13
        await intake.drained()
        assert {n for n in range(20) if n % 3} <= set(await on_stream(redis))


# what a store refuses, and what is not known


@pytest.mark.parametrize("away", ["redis", "none"])
async def test_an_event_that_postgres_cannot_hold_fails_alone_and_its_neighbours_are_kept(
    redis: Redis, db: pool.Pool, stores: Stores, valkey: Server, away: str
) -> None:
    size = payloads.LARGE_BYTES + 1 if away == "none" else 10  # what is large goes to Postgres whatever Redis does
    bad = event(7, data=b"\x00" * size)
    async with running(Intake(Streams(redis, 1), db, stores)) as intake:
        if away == "redis":
            await valkey.stop()
        events = [bad if n == 7 else event(n, data=b"x" * size) for n in range(20)]
        results = await asyncio.gather(*(intake.append([one]) for one in events), return_exceptions=True)
        assert [n for n, result in enumerate(results) if isinstance(result, BaseException)] == [7]
        assert isinstance(results[7], Malformed)
        kept = await spooled(db) if away == "redis" else await on_stream(redis)
        assert once(kept) == [n for n in range(20) if n != 7]
        assert intake.accepting == ("spool" if away == "redis" else "redis")


@pytest.mark.parametrize("answer", ["lost", "refused"])
async def test_what_redis_may_have_taken_is_not_said_to_be_lost(
    redis: Redis, db: pool.Pool, stores: Stores, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    bus = Streams(redis, 1)
    take = bus.append

    async def answer_lost(events: Sequence[Event]) -> None:
        await take(events)
        raise TimeoutError

    async def refused(events: Sequence[Event]) -> None:
        raise ConnectionRefusedError

    async with running(Intake(bus, db, stores)) as intake:
        monkeypatch.setattr(bus, "append", answer_lost if answer == "lost" else refused)
        monkeypatch.setattr(spool, "append", refused_by_postgres)
        with pytest.raises(NotAccepted) as caught:
            await intake.append([event(1)])
    assert caught.value.perhaps is (answer == "lost")
    assert await on_stream(redis) == ([1] if answer == "lost" else [])


async def refused_by_postgres(_: pool.Pool, events: Sequence[Event]) -> None:
    raise ConnectionRefusedError


async def test_the_events_of_one_request_go_in_all_or_not_at_all(
    redis: Redis, db: pool.Pool, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher, "MOST_BYTES", 50)
    async with running(Intake(Streams(redis, 1), db, stores)) as intake:
        with pytest.raises(Full):
            await intake.append([event(n, data=b"x" * 20) for n in range(4)])
        await intake.drained()
        assert await intake.append([event(9)]) is False
        assert await on_stream(redis) == [9]


# the batches under it


@pytest.mark.parametrize("spoilt", [{0}, {3}, {7}, {0, 7}, {2, 3}, set(range(8)), set[int]()])
async def test_an_item_at_fault_fails_alone_and_the_others_of_its_batch_keep_their_order(spoilt: set[int]) -> None:
    done: list[int] = []

    async def run(items: list[int]) -> list[int]:
        if spoilt & set(items):
            raise Broken
        done.extend(items)
        return items

    batches = Batcher(run, culprit=lambda exc: isinstance(exc, Broken))
    results = await asyncio.gather(*(batches.submit(n) for n in range(8)), return_exceptions=True)
    assert [n for n, result in enumerate(results) if isinstance(result, Broken)] == sorted(spoilt)
    assert done == [n for n in range(8) if n not in spoilt]


async def test_batches_and_what_waits_for_them_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "MOST_BYTES", 100)
    monkeypatch.setattr(batcher, "BATCH_BYTES", 30)
    gate, batches = asyncio.Event(), list[list[bytes]]()

    async def run(items: list[bytes]) -> list[int]:
        batches.append(items)
        await gate.wait()
        return [len(item) for item in items]

    calls = Batcher(run, size=len, at_once=1)
    first = calls.submit(b"x" * 200)  # whatever its size: nothing else waits
    await until(lambda: len(batches) == 1)
    waiting = [calls.submit(b"y" * 20) for _ in range(5)]
    with pytest.raises(Full):
        calls.submit(b"z")
    gate.set()
    async with asyncio.timeout(PATIENCE_S):
        assert await asyncio.gather(first, *waiting) == [200, *[20] * 5]
        assert await calls.submit(b"y" * 90) == 90  # what is done no longer counts
    assert [len(batch) for batch in batches] == [1, 1, 1, 1, 1, 1, 1]


async def test_what_its_caller_gave_up_before_its_batch_began_is_not_run() -> None:
    gate, batches = asyncio.Event(), list[list[int]]()

    async def run(items: list[int]) -> list[int]:
        batches.append(items)
        await gate.wait()
        return items

    calls = Batcher(run, at_once=1)
    first = calls.submit(0)
    await until(lambda: batches == [[0]])
    others = [calls.submit(n) for n in range(1, 4)]
    assert calls.begun(first)
    assert not calls.begun(others[0])
    others[1].cancel()
    gate.set()
    async with asyncio.timeout(PATIENCE_S):
        assert list(await asyncio.gather(first, others[0], others[2])) == [0, 1, 3]
    assert batches == [[0], [1, 3]]


@given(
    pauses=st.lists(st.integers(0, 4), max_size=40),
    spoilt=st.sets(st.integers(0, 39), max_size=4),
    steps=st.integers(0, 3),
    largest=st.integers(1, 7),
    at_once=st.integers(1, 3),
)
@settings(deadline=None)
def test_every_call_gets_its_own_result_and_fails_only_with_its_batch(
    pauses: list[int], spoilt: set[int], steps: int, largest: int, at_once: int
) -> None:
    batches: list[list[int]] = []
    under_way = most = 0

    async def run(items: list[int]) -> list[str]:
        nonlocal under_way, most
        batches.append(items)
        under_way += 1
        most = max(most, under_way)
        for _ in range(steps):
            await asyncio.sleep(0)
        under_way -= 1
        if spoilt & set(items):
            raise Broken
        return [f"result {item}" for item in items]

    async def main() -> list[str | BaseException]:
        batcher = Batcher(run, largest=largest, at_once=at_once)

        async def call(item: int, pause: int) -> str:
            for _ in range(pause):
                await asyncio.sleep(0)
            first = await batcher.submit(item)
            assert await batcher.submit(item + 1000) == f"result {item + 1000}"  # in the step that got the answer
            return first

        calls = (call(item, pause) for item, pause in enumerate(pauses))
        async with asyncio.timeout(PATIENCE_S):
            results = await asyncio.gather(*calls, return_exceptions=True)
            await batcher.idle()
        return results

    results = asyncio.run(main())
    failed = {item for batch in batches if spoilt & set(batch) for item in batch}
    for item, result in enumerate(results):
        if item in failed or item + 1000 in failed:
            assert isinstance(result, Broken)
        else:
            assert result == f"result {item}"
    firsts = [item for batch in batches for item in batch if item < 1000]
    assert sorted(firsts) == list(range(len(pauses)))
    assert firsts == sorted(firsts, key=lambda item: pauses[item])  # sorted() is stable: in the order of their coming
    assert all(len(batch) <= largest for batch in batches)
    assert most <= at_once


async def test_calls_that_come_while_a_batch_is_under_way_share_the_next_one() -> None:
    gate = asyncio.Event()
    batches: list[list[int]] = []

    async def run(items: list[int]) -> list[int]:
        batches.append(items)
        await gate.wait()
        return items

    calls = Batcher(run, at_once=1)
    first = calls.submit(0)
    await until(lambda: batches == [[0]])
    others = [calls.submit(n) for n in range(1, 100)]
    gate.set()
    async with asyncio.timeout(PATIENCE_S):
        assert await asyncio.gather(first, *others) == list(range(100))
    assert batches == [[0], list(range(1, 100))]


@pytest.mark.parametrize("at_once", [1, 2, 3])
async def test_a_call_made_in_the_moment_of_an_answer_is_not_forgotten(at_once: int) -> None:
    async def run(items: list[int]) -> list[int]:
        await asyncio.sleep(0)
        return items

    batcher = Batcher(run, at_once=at_once, largest=1)

    async def caller(n: int) -> None:
        for _ in range(20):
            assert await batcher.submit(n) == n

    async with asyncio.timeout(PATIENCE_S / 4):
        await asyncio.gather(*(caller(n) for n in range(at_once)))


async def test_more_calls_than_may_wait_are_refused_and_the_waiting_ones_served() -> None:
    gate = asyncio.Event()

    async def run(items: list[int]) -> list[int]:
        await gate.wait()
        return items

    batcher = Batcher(run, waiting=10, at_once=1)
    futures = [batcher.submit(n) for n in range(10)]
    with pytest.raises(Full) as caught:
        batcher.submit(10)
    assert caught.value.retry_after_s
    gate.set()
    async with asyncio.timeout(PATIENCE_S):
        assert await asyncio.gather(*futures) == list(range(10))
        assert await batcher.submit(11) == 11


class Broken(Exception):
    """Raised for a batch."""
