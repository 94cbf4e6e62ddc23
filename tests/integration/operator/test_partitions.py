"""Changing the number of partitions: when it is refused, what it carries over, what a death leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import pytest
from redis.asyncio import Redis

from adapters.postgres.bus import epochs, meta, outbox, partitions, payloads, spool
from adapters.postgres.operator import repartition
from adapters.postgres.pool import Pool, locking
from adapters.redis import stream_states
from adapters.redis.lease_table import LeaseTable, forget_all
from adapters.redis.streams import stream_keys
from daemon.bus import journal
from daemon.bus.marks import MARK, tagged
from daemon.bus.upkeep import publish_left
from daemon.bus.worker import AnyWorker
from daemon.lifecycle import StartError
from daemon.operator.partitions import read_layout
from daemon.operator.repartition import Changed, NotNow, change, finish
from daemon.operator.replay import ReplayError, open_bus
from daemon.stores import membership
from daemon.stores.health import postgres_watch
from daemon.stores.membership import Membership
from schemas.envelope import TOPICS
from tests.support.bus import Bench, open_bench
from tests.support.toy import TOPIC, TOY, fields_of, make_event, make_events
from tests.support.until import until

WAS: Final = 16
EVENTS: Final = make_events(keys=12, each=6)


@pytest.fixture
async def bench(redis: Redis, redis_url: str, db: Pool) -> AsyncIterator[Bench]:
    """Sixteen partitions, in use: the number, the mark and both groups are there."""
    async with open_bench(redis_url, db, partitions=WAS) as made:
        await meta.put(db, partitions.NUMBER, str(WAS))
        await meta.put(db, "mark", "m")
        await mark(made, "m")
        await made.bus.ensure_groups("journal", stream_keys(TOPICS, range(WAS)))
        yield made


def workers(bench: Bench) -> Sequence[AnyWorker]:
    return journal.WORKER, bench.worker()


def marks(bench: Bench, number: int = WAS) -> list[str]:
    """The keys of all marks."""
    return [tagged(MARK, tag) for tag in bench.bus.server.parts(number)]


async def mark(bench: Bench, value: str) -> None:
    for key in marks(bench):
        await bench.redis.set(key, value)


async def to(bench: Bench, number: int, *, move: bool = False) -> Changed:
    told: list[tuple[int, int]] = []
    done = await change(
        *(bench.pool, bench.redis, workers(bench), {}, number),
        configured=WAS,
        move=move,
        report=lambda *heard: told.append(heard),
    )
    assert [count for count, _ in told][-1:] == ([done.moved] if done.moved else [])
    assert all(count <= of for count, of in told)
    return done


async def ended_by(bench: Bench, group: str, count: int | None = None) -> None:
    """*group* has read and acknowledged the first *count* entries of every stream, or all."""
    for key in bench.keys:
        read = await bench.bus.read(group, {key: ">"}, count=count or 1000, epochs={})
        await bench.bus.ack(group, [(d.key, d.id) for d in read])


async def number(bench: Bench) -> int | None:
    return await partitions.number(bench.pool)


async def refused(bench: Bench, *, move: bool = False) -> str:
    """Why a change is refused; nothing has changed."""
    entries = await bench.entries(TOPIC)
    with pytest.raises(NotNow) as why:
        await to(bench, 4, move=move)
    assert "\n" not in str(why.value)
    assert await number(bench) == WAS
    assert await bench.entries(TOPIC) == entries
    return str(why.value)


async def worked_off(bench: Bench, redis_url: str, number: int) -> dict[str, list[int]]:
    """Subject -> the numbers that the toy worker has handled, after a start with *number* partitions."""
    async with open_bench(redis_url, bench.pool, partitions=number) as after:
        await publish_left(after.pool, after.bus, older_than_s=0)
        async with after.running():
            await until(after.settled)
        return await after.numbers()


async def test_a_drained_bus_changes_and_its_streams_begin_anew(bench: Bench, redis_url: str) -> None:
    await bench.publish(EVENTS)
    await ended_by(bench, "journal")
    await ended_by(bench, TOY)
    was = await epochs.take(bench.pool, TOY, range(WAS), "me")
    assert await to(bench, 4) == Changed(WAS, 4)
    assert await number(bench) == 4
    assert [key async for key in bench.redis.scan_iter("ferryman:*:orders")] == []
    assert {await bench.redis.get(key) for key in marks(bench, 4)} == {b"m"}
    assert len([key async for key in bench.redis.scan_iter("ferryman:*:mark")]) == len(marks(bench, 4))
    assert await repartition.old_streams(bench.pool) is None
    now = await epochs.take(bench.pool, TOY, range(WAS), "another")
    assert all(now[p] > was[p] + 1 for p in range(WAS)), "a process that slept through the change may write nothing"
    assert await to(bench, 4) == Changed(4, 4)


async def test_what_waits_is_refused_and_named(bench: Bench) -> None:
    await bench.publish(EVENTS)
    assert "72 events wait for journal" in (text := await refused(bench))
    assert "72 events wait for toy" in text
    assert "72 events wait for journal" in await refused(bench, move=True), "the journal must have everything"
    await ended_by(bench, "journal")
    assert "72 events wait for toy: let a daemon work them off, or carry them over" in await refused(bench)
    await bench.read_without_ack()
    assert "72 events wait for toy" in await refused(bench)


async def test_spool_outbox_processes_and_a_loss_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await spool.append(bench.pool, [make_event("key-1")])
    assert "1 events wait in the spool and 0 in the outbox" in await refused(bench, move=True)
    await bench.pool.execute("TRUNCATE spool")
    async with bench.pool.acquire() as conn:
        await outbox.emit(conn, [make_event("key-1")])
    assert "0 events wait in the spool and 1 in the outbox" in await refused(bench, move=True)
    await bench.pool.execute("TRUNCATE outbox")
    await LeaseTable(bench.redis, "0123456789abcdef", [TOY], 30).tick([], [])
    assert "01234567 runs: stop every process" in await refused(bench, move=True)
    await forget_all(bench.redis)
    async with bench.pool.acquire() as conn:
        assert await partitions.take_part(conn)
        assert "1 processes are starting or without Redis" in await refused(bench)
    await bench.redis.set(marks(bench)[-1], "of another server")
    assert "Redis has lost data" in await refused(bench)
    await mark(bench, "m")
    await meta.put(bench.pool, "beat", " ".join("7" for _ in marks(bench)))
    assert "Redis has lost data" in await refused(bench)
    await bench.pool.execute("DELETE FROM ferryman_meta WHERE key = 'beat'")
    assert (await to(bench, 4)).now == 4


async def test_one_verb_at_a_time_and_no_process_or_replay_starts_meanwhile(
    bench: Bench, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "CHANGE_S", 0.2)
    starting = Membership(database_url)
    async with locking(bench.pool) as conn:
        assert await partitions.be_alone(conn)
        assert "another `ferryman partitions` is at work" in await refused(bench)
        with pytest.raises(StartError, match="being changed"):
            await starting.take_part()
        with pytest.raises(ReplayError, match="being changed"):
            async with open_bus(bench.pool, redis_url, WAS):
                pass
    await starting.take_part()
    assert "processes are starting" in await refused(bench)
    starting.close()

    async def over() -> bool:
        async with bench.pool.acquire() as conn:
            return await partitions.holders(conn) == (0, False)

    await until(over)
    assert (await to(bench, 4)).now == 4


async def test_a_process_that_missed_a_change_ends(bench: Bench, database_url: str) -> None:
    slept = Membership(database_url)
    await slept.take_part()
    slept.insist_on(WAS)
    watch = postgres_watch(slept.look)
    watch.start()
    await meta.put(bench.pool, partitions.NUMBER, "4")
    await bench.pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with pytest.raises(StartError, match="from 16 to 4"):
        async with asyncio.timeout(20):
            await watch.stopped()


@pytest.mark.parametrize("number_after", [1, 4, 32])
async def test_what_waits_is_carried_over_in_order_and_handled_once(
    bench: Bench, redis_url: str, number_after: int
) -> None:
    large = make_event("key-0", 6, filler="x" * 100_000)
    (referenced,) = await payloads.store(bench.pool, [large])
    replayed = make_event("key-1", 6)._replace(replayid=f"{TOY}:r")
    elsewhere = make_event("key-2", 6)._replace(replayid="another:r")
    await bench.publish([*EVENTS, referenced, replayed, elsewhere])
    await bench.publish_fields(3, {"no": "event"})
    await bench.publish_fields(3, fields_of(make_event("key-3", 6), data=b'{"n": 6, "a": "\xff"}'))
    await ended_by(bench, "journal")
    await ended_by(bench, TOY, count=2)  # the oldest two of every stream
    await bench.bus.read(TOY, dict.fromkeys(bench.keys, ">"), count=3, epochs={})  # and three are pending
    waiting = await ids_after(bench, 2) - {elsewhere.id, make_event("key-3", 6).id, ""}
    done = await to(bench, number_after, move=True)
    assert (done.moved, done.left_out) == (len(waiting), 2)
    kept = await outbox.left(bench.pool, older_than_s=0, limit=1000)
    assert {event.target for _, event in kept} == {TOY}
    assert sorted(event.id for _, event in kept) == sorted(waiting)
    assert [event.data for _, event in kept if event.id == large.id] == [large.data]
    found = await worked_off(bench, redis_url, number_after)
    wanted: dict[str, list[int]] = {}
    for event in [*EVENTS, large, replayed]:
        if event.id in waiting:
            wanted.setdefault(event.subject, []).append(int(event.json()["n"]))
    assert found == wanted
    assert await bench.has("outbox", 0)


async def ids_after(bench: Bench, count: int) -> set[str]:
    """The ids in all streams, but for the first *count* entries of each; "" for what is no event."""
    found: set[str] = set()
    for key in bench.keys:
        rows: Any = await bench.redis.xrange(key)
        found.update(fields.get(b"id", b"").decode() for _, fields in rows[count:])
    return found


async def test_a_stream_with_deleted_entries_is_counted_by_hand(bench: Bench) -> None:
    await bench.publish([make_event("key-1", n) for n in range(5)])
    await ended_by(bench, "journal")
    await ended_by(bench, TOY, count=1)
    (key,) = [key for key in bench.keys if await bench.redis.xlen(key)]
    rows: Any = await bench.redis.xrange(key)
    await bench.redis.xdel(key, rows[3][0])
    state = (await stream_states.states(bench.redis, [key]))[key]
    assert state.waiting(TOY) == (3, 0)
    await ended_by(bench, TOY)
    assert (await to(bench, 4)).now == 4


async def test_a_worker_that_never_ran_keeps_what_waits_for_it(bench: Bench, redis_url: str) -> None:
    await bench.publish(EVENTS)
    await ended_by(bench, "journal")
    for key in bench.keys:
        await bench.redis.xgroup_destroy(key, TOY)
    assert "72 events wait for toy" in await refused(bench)
    assert (await to(bench, 5, move=True)).moved == 72
    assert await worked_off(bench, redis_url, 5) == {f"key-{k}": list(range(6)) for k in range(12)}


class Death(Exception):
    """Raised where the process ends."""


DEATHS: Final[dict[str, tuple[Any, str, bool]]] = {
    "before the transaction": (repartition, "change", False),
    "after the transaction": (repartition, "change", True),
    "before the streams go": (stream_states, "forget", False),
    "after the streams went": (stream_states, "forget", True),
    "before it is done": (repartition, "old_streams_removed", False),
}


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("then", ["the verb again", "two starts"])
async def test_a_death_at_any_point_leaves_one_number_and_can_be_repeated(
    bench: Bench, redis_url: str, monkeypatch: pytest.MonkeyPatch, death: str, then: str
) -> None:
    await bench.publish(EVENTS)
    await ended_by(bench, "journal")
    await ended_by(bench, TOY, count=1)
    waiting = await ids_after(bench, 1)
    module, name, after = DEATHS[death]
    with monkeypatch.context() as patched:
        patched.setattr(module, name, dying(getattr(module, name), after))
        with pytest.raises(Death):
            await to(bench, 4, move=True)
    changed = death != "before the transaction"
    assert await number(bench) == (4 if changed else WAS)
    if not changed or then == "the verb again":
        assert (await to(bench, 4, move=True)) == (Changed(4, 4) if changed else Changed(WAS, 4, len(waiting)))
    else:
        await asyncio.gather(*(finish(bench.pool, bench.redis) for _ in range(2)))
    assert await repartition.old_streams(bench.pool) is None
    found = await worked_off(bench, redis_url, 4)
    assert sum(map(len, found.values())) == len(waiting)
    assert all(numbers == sorted(set(numbers)) for numbers in found.values())


def dying(call: Callable[..., Awaitable[Any]], after: bool) -> Callable[..., Awaitable[Any]]:
    """*call*, and then death; or death before it."""

    async def instead(*args: Any, **options: Any) -> Any:
        if after:
            await call(*args, **options)
        raise Death

    return instead


async def test_a_removal_that_comes_late_touches_nothing_newer(bench: Bench) -> None:
    await bench.publish(EVENTS)
    last = {key: state.last_id for key, state in (await stream_states.states(bench.redis, bench.keys)).items()}
    newer = [make_event(event.subject, 100 + n) for n, event in enumerate(EVENTS)]
    await bench.publish(newer)
    for _ in range(2):
        await stream_states.forget(bench.redis, last)
        left = {fields["id"] for _, fields in await bench.entries(TOPIC)}
        assert left == {event.id for event in newer}
    await bench.command("FLUSHALL")
    await bench.publish(newer)
    await stream_states.forget(bench.redis, last)
    assert len(await bench.entries(TOPIC)) == len(newer)


async def test_what_comes_into_the_outbox_in_the_last_moment_stops_the_change(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repartition.change

    async def late(*args: Any) -> bool:
        async with bench.pool.acquire() as conn:
            await outbox.emit(conn, [make_event("key-1")])
        return await commit(*args)

    monkeypatch.setattr(repartition, "change", late)
    assert "something has just come into the outbox" in await refused(bench)
    async with bench.pool.acquire() as conn:
        assert (await read_layout(conn, bench.redis, WAS)).outbox == 1
