"""A read under an epoch that is not in force takes nothing, however late it arrives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from adapters.postgres.bus import epochs as leases
from adapters.postgres.pool import Pool
from adapters.redis.streams import StaleRead, StreamEntry, StreamErrors, Streams, epoch_key
from tests.support.bus import Bench, open_bench
from tests.support.members import Member
from tests.support.toy import TOY, Spy, home_of, make_event, make_events
from tests.support.until import until

PARTITIONS = 4


@pytest.fixture
async def bench(redis: Redis, redis_url: str, db: Pool) -> AsyncIterator[Bench]:
    async with open_bench(redis_url, db, partitions=PARTITIONS) as made:
        yield made


async def read(bench: Bench, epochs: dict[int, int]) -> list[StreamEntry]:
    return await bench.bus.read(TOY, dict.fromkeys(bench.keys, ">"), count=100, epochs=epochs)


async def test_the_claimant_reads_and_the_holder_of_the_epoch_before_reads_nothing(bench: Bench) -> None:
    first, second = dict.fromkeys(range(PARTITIONS), 1), dict.fromkeys(range(PARTITIONS), 2)
    events = make_events(keys=8, each=2)
    assert await bench.bus.claim(TOY, first) == first
    await bench.publish(events)
    assert await bench.bus.claim(TOY, second) == second
    with pytest.raises(StaleRead) as caught:
        await read(bench, first)
    assert caught.value.epoch == 2
    assert await bench.open_entries() == (len(events), 0)
    assert len(await read(bench, second)) == len(events)


async def test_a_claim_under_an_epoch_that_is_over_changes_nothing_and_returns_the_one_in_force(bench: Bench) -> None:
    await bench.bus.claim(TOY, {0: 7, 1: 1})
    assert await bench.bus.claim(TOY, {0: 3, 1: 3}) == {0: 7, 1: 3}
    assert await bench.bus.claim(TOY, {0: 7}) == {0: 7}


async def test_nothing_is_read_where_no_process_has_claimed(bench: Bench) -> None:
    await bench.publish([make_event("key")])
    with pytest.raises(StaleRead) as caught:
        await read(bench, dict.fromkeys(range(PARTITIONS), 1))
    assert caught.value.epoch == 0
    assert await bench.open_entries() == (1, 0)


async def test_every_group_has_epochs_of_its_own(bench: Bench) -> None:
    epochs = dict.fromkeys(range(PARTITIONS), 1)
    await bench.bus.claim("another", dict.fromkeys(range(PARTITIONS), 9))
    assert await bench.bus.claim(TOY, epochs) == epochs
    assert await read(bench, epochs) == []


async def test_a_read_that_was_held_up_past_the_lease_takes_nothing_from_the_new_owner(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a process that is stopped between the look at its lease and the command changes the order of no key."""
    handlers = {name: Spy() for name in "ab"}
    stopped, goes_on, reads = asyncio.Event(), asyncio.Event(), Streams.read
    sleeper, other = (Member(bench, name, ttl_s=2.0) for name in "ab")

    async def held_up(self: Streams, *args: Any, **options: Any) -> list[StreamEntry]:
        if not stopped.is_set():  # the first read from now on is the sleeper's: the other has not started yet
            stopped.set()
            await goes_on.wait()
        return await reads(self, *args, **options)

    try:
        await sleeper.start(bench.worker(handlers["a"]))
        await bench.publish([make_event(f"key-{k}", 0) for k in range(20)])
        await until(lambda: bench.is_ended(20))
        await until(lambda: len(sleeper.readable) == PARTITIONS)
        monkeypatch.setattr(Streams, "read", held_up)
        await bench.publish([make_event(f"key-{k}", 1) for k in range(20)])
        await stopped.wait()
        sleeper.freeze()
        await other.start(bench.worker(handlers["b"]))
        await until(lambda: bench.is_ended(40))
        goes_on.set()
        for n in range(2, 30):
            await bench.publish([make_event(f"key-{k}", n) for k in range(20)])
        await until(bench.settled)
    finally:
        goes_on.set()
        for member in (sleeper, other):
            await member.end()
    assert len(handlers["a"].calls) == 20
    assert await bench.numbers() == {f"key-{k}": list(range(30)) for k in range(20)}


async def test_a_claim_that_the_server_has_lost_is_made_again(bench: Bench) -> None:
    async with bench.running(bench.worker(Spy())):
        await bench.publish(make_events(keys=4, each=1))
        await until(bench.settled)
        for partition in range(PARTITIONS):
            await bench.redis.delete(epoch_key(TOY, partition))
        await bench.publish([make_event(f"key-{k}", 1) for k in range(4)])
        await until(bench.settled)
    assert await bench.numbers() == {f"key-{k}": [0, 1] for k in range(4)}


async def test_where_postgres_was_put_back_the_next_epoch_is_later_than_the_one_that_redis_knows(bench: Bench) -> None:
    """Promise: an older copy of Postgres does not leave partitions that no process may read."""
    await bench.bus.claim(TOY, dict.fromkeys(range(PARTITIONS), 1000))
    member = Member(bench, "a", ttl_s=2.0)
    try:
        await member.start(bench.worker(Spy()))
        await bench.publish([make_event("key", 0)])
        await until(bench.settled, within_s=10)
    finally:
        await member.end()
    async with bench.pool.acquire() as conn:
        epochs = await leases.current(conn, TOY, range(PARTITIONS))
    assert epochs[home_of("key", PARTITIONS)] == 1001


async def test_what_an_operator_has_read_by_hand_is_no_reason_to_ask_without_end(bench: Bench) -> None:
    script = """
    local id = redis.call('XADD', KEYS[1], '*', 'a', 'b')
    return redis.call('XREADGROUP', 'GROUP', ARGV[1], 'operator', 'STREAMS', KEYS[1], '>')
    """
    async with bench.running(bench.worker(Spy())):
        await bench.publish([make_event("key", 0)])
        await until(bench.settled)
        await until(bench.waits)
        await bench.command("EVAL", script, "1", bench.keys[0], TOY)  # there, and read, in one moment
        await bench.command("CONFIG", "RESETSTAT")
        began = time.monotonic()
        await asyncio.sleep(1)  # the time over which they are counted
        assert await bench.reads_made() < 10 + bench.reads_a_second * (time.monotonic() - began)


def test_a_stale_read_is_an_error_of_the_store() -> None:
    assert issubclass(StaleRead, StreamErrors)
