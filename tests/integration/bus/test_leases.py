"""Leases on real stores: which process works on what, how that changes, and that only the owner's results count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final, TypeAlias

import pytest
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from adapters.redis.lease_table import Pair
from adapters.redis.streams import Streams
from daemon.bus.outcome import Done, Outcome, Turn
from daemon.bus.worker import AnyWorker
from schemas.envelope import Event
from tests.support.bus import Bench, open_bench
from tests.support.members import Member
from tests.support.toy import TOY, Spy, effect, home_of, make_event
from tests.support.until import until

TTL_S: Final = 3.0
PARTITIONS: Final = 7
BOTH: Final = (TOY, "toy-2")

Join: TypeAlias = Callable[..., Member]


@pytest.fixture
async def bench(redis: Redis, redis_url: str, db: Pool) -> AsyncIterator[Bench]:
    async with open_bench(redis_url, db, partitions=PARTITIONS) as made:
        yield made


@pytest.fixture
async def join(bench: Bench) -> AsyncIterator[Join]:
    """Makes members; whatever a test leaves running is ended."""
    members: list[Member] = []

    def made(name: str, *, ttl_s: float = TTL_S, workers: tuple[str, ...] = BOTH) -> Member:
        members.append(Member(bench, name, ttl_s=ttl_s, workers=workers))
        return members[-1]

    yield made
    for member in members:
        await member.end()


def shared(*members: Member) -> bool:
    """Whether *members* hold every pair, each once, with shares within one of each other."""
    held = [pair for member in members for pair in member.readable]
    sizes = [len(member.readable) for member in members]
    return sorted(held) == sorted(members[0].pairs) and max(sizes) - min(sizes) <= 1


def owns_all(member: Member) -> bool:
    return member.readable == set(member.pairs)


async def together(join: Join, *names: str) -> list[Member]:
    members = [join(name) for name in names]
    for member in members:
        await member.start()
    await until(lambda: shared(*members))
    return members


@pytest.mark.parametrize("fleet", [1, 2, 3])
async def test_members_together_hold_everything_and_none_more_than_one_pair_above_another(
    join: Join, fleet: int
) -> None:
    members = await together(join, *(f"m{n}" for n in range(fleet)))
    assert shared(*members)


async def test_a_member_that_does_not_run_a_worker_gets_none_of_it(join: Join) -> None:
    one, both = join("one", workers=("toy-2",)), join("both")
    for member in (one, both):
        await member.start()
    await until(lambda: one.readable | both.readable == set(one.pairs) and len(one.readable) > 0)
    assert {worker for worker, _ in one.readable} == {"toy-2"}


async def test_a_member_that_leaves_is_followed_at_once(join: Join) -> None:
    leaver, stayer = await together(join, "a", "b")
    leaver.freeze()
    await leaver.keeper.leave()
    assert leaver.readable == set()
    await until(lambda: owns_all(stayer), within_s=1.0)


async def test_a_member_that_dies_is_followed_when_its_leases_have_run_out_and_never_before(join: Join) -> None:
    dead, stayer = await together(join, "a", "b")
    dead.freeze()

    def taken_over() -> bool:
        assert not dead.readable & stayer.readable
        return owns_all(stayer)

    await until(taken_over, within_s=TTL_S + 1)
    assert dead.readable == set()
    assert dead.epochs  # it does not know yet, and is harmless


async def test_the_epoch_of_a_pair_grows_with_each_owner(join: Join) -> None:
    epochs: dict[Pair, int] = {}
    for number in range(3):
        member = join(f"m{number}")
        await member.start()
        await until(partial(owns_all, member))
        assert all(epoch > epochs.get(pair, 0) for pair, epoch in member.epochs.items())
        epochs = member.epochs
        member.freeze()
        await member.keeper.leave()


async def test_a_member_that_joins_gets_its_share_while_the_others_go_on(join: Join) -> None:
    (first,) = await together(join, "a")
    second = join("b")
    before = first.epochs
    await second.start()
    await until(lambda: shared(first, second))
    assert {pair: before[pair] for pair in first.epochs} == first.epochs  # what it kept it never let go


async def test_leases_flushed_from_redis_stay_with_their_holders(bench: Bench, join: Join) -> None:
    """Promise: no process takes as free what another process still works on, only because the table is gone."""
    one, other = await together(join, "a", "b")
    before = one.epochs, other.epochs
    await bench.command("FLUSHALL")
    began = time.monotonic()
    while time.monotonic() - began < 2 * TTL_S:
        assert (one.epochs, other.epochs) == before
        await asyncio.sleep(0.01)
    assert await _leases_in_redis(bench, len(before[0] | before[1]))
    assert one.readable | other.readable == before[0].keys() | before[1].keys()


async def test_a_flushed_lease_that_no_process_claims_is_taken_when_it_would_have_run_out(
    bench: Bench, join: Join
) -> None:
    stays, dead = await together(join, "a", "b")
    dead.freeze()
    await bench.command("FLUSHALL")
    flushed = time.monotonic()
    await until(lambda: owns_all(stays), within_s=TTL_S + 5)
    assert time.monotonic() - flushed > TTL_S - 0.5


async def test_nothing_is_held_until_postgres_has_given_the_epoch(bench: Bench, join: Join) -> None:
    member = join("a")
    async with bench.pool.acquire() as conn, conn.transaction():
        await conn.execute("LOCK TABLE leases IN ACCESS EXCLUSIVE MODE")
        await member.start()
        await until(lambda: _leases_in_redis(bench, len(member.pairs)))
        for _ in range(50):
            assert member.epochs == {}
            assert member.readable == set()
            await asyncio.sleep(0.01)
    await until(lambda: owns_all(member))


async def _leases_in_redis(bench: Bench, count: int) -> bool:
    return int(await bench.redis.hlen("ferryman:{bus}:leases")) == count


# --- with work ---------------------------------------------------------------


class Signed:
    """A handler whose effects name the process that had them; it waits at *gate* with the keys in *stuck*."""

    def __init__(self, name: str, *stuck: str) -> None:
        self.name = name
        self.stuck = stuck
        self.gate = asyncio.Event()

    async def __call__(self, event: Event, deps: object, turn: Turn) -> Outcome:
        if event.subject in self.stuck:
            await self.gate.wait()
        return Done(rows=(effect(event, self.name),))


def worker(bench: Bench, handler: Spy) -> AnyWorker:
    return bench.worker(handler, lanes=20)


async def test_a_process_that_slept_past_its_leases_writes_nothing_and_the_new_owner_does_its_work(
    bench: Bench, join: Join
) -> None:
    sleeper, follower = join("a"), join("b")
    asleep = Signed("a", "key-0", "key-1")
    old, new = Spy(asleep), Spy(Signed("b"))
    await sleeper.start(worker(bench, old))
    await until(lambda: owns_all(sleeper))
    events = [make_event(f"key-{k}", n) for k in range(2) for n in range(3)]
    await bench.publish(events)
    await until(lambda: old.active == 2)
    sleeper.freeze()
    await follower.start(worker(bench, new))
    await until(bench.settled, within_s=TTL_S + 10)
    assert len(new.calls) == len(events)
    assert sleeper.consumer is not None
    asleep.gate.set()
    await until(lambda: old.active == 0)
    await until(lambda: sleeper.consumer is not None and len(sleeper.consumer.lanes) == 0)
    stale = {home_of(event.subject, bench.partitions) for event in events}
    assert not stale & set(sleeper.keeper.held(TOY))
    assert await bench.numbers() == {"key-0": [0, 1, 2], "key-1": [0, 1, 2]}
    assert {e.note for e in await bench.effects()} == {"b"}
    assert sorted(old.calls) == [("key-0", 0), ("key-1", 0)]
    await sleeper.stop_working()


async def test_a_process_that_retires_hands_over_idle_partitions_at_once_and_the_rest_when_their_work_is_done(
    bench: Bench, join: Join
) -> None:
    retiring, follower = join("a", ttl_s=10.0), join("b", ttl_s=10.0)
    last = Signed("a", "key-0")
    handler = Spy(last)
    await retiring.start(worker(bench, handler))
    await until(lambda: owns_all(retiring))
    await bench.publish([make_event("key-0", n) for n in range(3)])
    await until(lambda: handler.active == 1)
    assert retiring.consumer is not None
    retiring.consumer.stop()
    await retiring.keeper.retire()
    await follower.start(worker(bench, Spy(Signed("b"))))
    busy = (TOY, home_of("key-0", bench.partitions))
    await until(lambda: follower.readable == set(follower.pairs) - {busy}, within_s=5)
    assert set(retiring.epochs) == {busy}
    assert retiring.readable == set()
    last.gate.set()
    await until(lambda: owns_all(follower), within_s=5)
    await until(bench.settled)
    assert [(e.n, e.note) for e in await bench.effects()] == [(0, "a"), (1, "b"), (2, "b")]
    assert await bench.attempts() == {}
    await retiring.stop()


async def test_while_partitions_move_every_event_is_handled_once_in_order_and_none_is_left_behind(
    bench: Bench, join: Join
) -> None:
    stay, come = join("a"), join("b")
    handlers = {name: Spy(Signed(name)) for name in "abc"}
    published = 0
    moved = asyncio.Event()

    async def traffic() -> None:
        nonlocal published
        while not moved.is_set():
            await bench.publish([make_event(f"key-{k}", published) for k in range(20)])
            published += 1
            await asyncio.sleep(0.01)

    sender = asyncio.create_task(traffic())
    await stay.start(worker(bench, handlers["a"]))
    await until(lambda: owns_all(stay))
    await come.start(worker(bench, handlers["b"]))
    await until(lambda: shared(stay, come))
    third = join("c")
    await third.start(worker(bench, handlers["c"]))
    await until(lambda: shared(stay, come, third))
    await come.stop()
    await until(lambda: shared(stay, third))
    moved.set()
    await sender
    await until(bench.settled)
    assert await bench.numbers() == {f"key-{k}": list(range(published)) for k in range(20)}
    assert all(handler.calls for handler in handlers.values())
    for member in (stay, third):
        await member.stop()


async def test_a_partition_is_not_handed_over_while_a_read_of_it_is_under_way(
    bench: Bench, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, began, gate = Streams.read, asyncio.Event(), asyncio.Event()

    async def slow(*args: Any, **options: Any) -> Any:
        began.set()
        await gate.wait()
        return await read(*args, **options)

    monkeypatch.setattr(Streams, "read", slow)
    member = join("a")
    await member.start(worker(bench, Spy(Signed("a"))))
    await began.wait()
    await until(lambda: owns_all(member))
    assert member.consumer is not None
    assert not member.consumer.hand_over(0)
    gate.set()
    await until(lambda: member.consumer is not None and member.consumer.hand_over(0), within_s=5)
    await member.stop()


async def test_a_reader_that_waits_for_new_entries_can_hand_over_at_once(bench: Bench, join: Join) -> None:
    member = join("a")
    await member.start(worker(bench, Spy(Signed("a"))))
    await until(lambda: owns_all(member))
    await until(bench.waits)
    assert member.consumer is not None
    assert all(member.consumer.hand_over(partition) for partition in range(PARTITIONS))
    await member.stop()
