"""One key with more entries than a process may hold: no other waits for it, and it keeps its order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count, islice
from typing import Any, Final

import pytest

from adapters.redis.streams import StreamEntry, StreamErrors, Streams
from daemon.bus import reader
from daemon.bus.outcome import Outcome, Turn
from schemas.envelope import Event
from tests.support.bus import Bench
from tests.support.toy import Spy, home_of, make_event, succeed
from tests.support.until import until

HOT: Final = "key-0"
MANY: Final = 100
AT_MOST: Final = 20


def beside(partitions: int) -> str:
    """Another key of the same partition."""
    home = home_of(HOT, partitions)
    return next(key for n in count(1) if home_of(key := f"key-{n}", partitions) == home)


class Slow:
    """A handler that holds the hot key's first entry at a gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def __call__(self, event: Event, deps: object, turn: Turn) -> Outcome:
        if event.subject == HOT:
            await self.gate.wait()
        return await succeed(event, deps, turn)


@pytest.fixture
async def waiting(bench: Bench) -> list[Event]:
    """The hot key's events are on the stream, and those of another key behind them."""
    hot, others = [make_event(HOT, n) for n in range(MANY)], [make_event(beside(4), n) for n in range(3)]
    await bench.publish([*hot, *others])
    return [*hot, *others]


async def ended_in_order(bench: Bench, slow: Slow) -> None:
    """The other key is through while the hot one stands still; then that is, too."""
    await until(lambda: bench.has("effects", 3))
    assert set(await bench.numbers()) == {beside(4)}
    slow.gate.set()
    await until(bench.settled)
    assert await bench.numbers() == {beside(4): [0, 1, 2], HOT: [*range(MANY)]}


@pytest.mark.parametrize("taken_over", [False, True])
async def test_a_key_with_more_entries_than_may_be_held_holds_up_no_other_and_keeps_its_order(
    bench: Bench, waiting: Sequence[Event], taken_over: bool
) -> None:
    """*taken_over*: another process had read them all, and died."""
    if taken_over:
        assert len(await bench.read_without_ack()) == len(waiting)
    slow = Slow()
    handler = Spy(slow)
    async with bench.running(bench.worker(handler), max_in_flight=AT_MOST) as consumer:
        await ended_in_order(bench, slow)
        assert len(consumer.lanes) == len(consumer.lanes.left) == 0
    assert len(handler.calls) == len(waiting)


@pytest.mark.parametrize("taken_over", [False, True])
async def test_what_is_left_of_a_hot_key_is_read_past_in_large_steps(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, taken_over: bool
) -> None:
    """Promise: with room for few entries, another key waits for some reads, and not for one read an entry."""
    many = 1_000
    await bench.publish([*[make_event(HOT, n) for n in range(many)], make_event(beside(4))])
    if taken_over:
        assert len(await bench.read_without_ack(2 * many)) == many + 1
    reads: list[int] = []
    read = Streams.read

    async def counted(self: Streams, *args: Any, **options: Any) -> Sequence[StreamEntry]:
        reads.append(1)
        return await read(self, *args, **options)

    monkeypatch.setattr(Streams, "read", counted)
    slow = Slow()
    async with bench.running(bench.worker(slow), max_in_flight=AT_MOST) as consumer:
        await until(lambda: bench.has("effects", 1))
        assert len(reads) < many // 20
        assert len(consumer.lanes) <= AT_MOST
        slow.gate.set()
        await until(bench.settled)
    assert await bench.numbers() == {beside(4): [0], HOT: [*range(many)]}


async def test_copies_of_one_event_hold_up_no_other_key(bench: Bench) -> None:
    slow = Slow()
    handler = Spy(slow)
    await bench.publish([*[make_event(HOT)] * MANY, make_event(beside(4))])
    async with bench.running(bench.worker(handler), max_in_flight=AT_MOST):
        await until(lambda: bench.has("effects", 1))
        slow.gate.set()
        await until(bench.settled)
    assert handler.calls == [(HOT, 0), (beside(4), 0)]


async def test_many_hot_keys_are_held_by_a_share_each_and_the_rest_by_their_ids(bench: Bench) -> None:
    slow = asyncio.Event()

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        if event.subject != "key-99":
            await slow.wait()
        return await succeed(event, deps, turn)

    await bench.publish([make_event(f"key-{k}", n) for k in range(9) for n in range(30)])
    await bench.publish([make_event("key-99")])
    async with bench.running(bench.worker(handle), max_in_flight=AT_MOST) as consumer:
        await until(lambda: bench.has("effects", 1))
        assert len(consumer.lanes) <= AT_MOST
        slow.set()
        await until(bench.settled)
    numbers = await bench.numbers()
    assert numbers == {**{f"key-{k}": [*range(30)] for k in range(9)}, "key-99": [0]}


async def test_where_so_many_are_left_that_no_more_ids_are_kept_other_partitions_go_on(
    bench: Bench, waiting: Sequence[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MOST", 10)
    monkeypatch.setattr(reader, "PAST", 1)
    slow = Slow()
    elsewhere = next(f"key-{n}" for n in count(1) if home_of(f"key-{n}", 4) != home_of(HOT, 4))
    async with bench.running(bench.worker(slow), max_in_flight=AT_MOST) as consumer:
        await until(lambda: len(consumer.lanes.left) >= 10)
        most = len(consumer.lanes.left)
        await bench.publish([make_event(elsewhere)])
        await until(lambda: bench.has("effects", 1))
        assert len(consumer.lanes.left) == most
        assert (await bench.open_entries())[0] > 0
        slow.gate.set()
        await until(bench.settled)
    assert (await bench.numbers())[HOT] == [*range(MANY)]


async def test_a_read_again_that_fails_loses_nothing_and_turns_no_order_about(
    bench: Bench, waiting: Sequence[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "PAUSE_S", 0.01)
    fetch, failures = Streams.fetch, iter(range(4))

    async def fails(self: Streams, entries: Sequence[tuple[str, str]]) -> list[StreamEntry]:
        found = await fetch(self, entries)
        if next(failures, None) is not None:
            raise StreamErrors[0]("the answer is lost")
        return found

    monkeypatch.setattr(Streams, "fetch", fails)
    slow = Slow()
    async with bench.running(bench.worker(slow), max_in_flight=AT_MOST):
        await ended_in_order(bench, slow)


async def test_what_was_deleted_while_it_was_left_does_not_stop_the_rest(
    bench: Bench, waiting: Sequence[Event]
) -> None:
    slow = Slow()
    async with bench.running(bench.worker(slow), max_in_flight=AT_MOST):
        await until(lambda: bench.has("effects", 3))
        key = bench.keys[home_of(HOT, 4)]
        entries: Any = await bench.redis.xrange(key)
        await bench.redis.xdel(key, *[entry_id for entry_id, _ in entries[50:60]])
        slow.gate.set()
        await until(bench.settled)
    assert (await bench.numbers())[HOT] == [*range(50), *range(60, MANY)]


async def test_what_was_left_goes_to_the_next_holder_of_its_lease(bench: Bench, waiting: Sequence[Event]) -> None:
    slow = Slow()
    leases = await bench.take_leases("one")
    handler = Spy(slow)
    async with bench.running(bench.worker(handler), leases=leases, max_in_flight=AT_MOST):
        await until(lambda: bench.has("effects", 3))
        leases.take((await bench.take_leases("other")).owned)  # the same process has them again
        await until(lambda: handler.calls.count((HOT, 0)) == 2)
        slow.gate.set()
        await until(bench.settled)
    assert (await bench.numbers())[HOT] == [*range(MANY)]


async def test_with_fewer_places_than_streams_a_backlog_of_one_is_read_without_a_pause(bench: Bench) -> None:
    """A place for one entry, four streams: looking at the three others costs a read each, and no wait."""
    at_home = (key for n in count() if home_of(key := f"key-{n}", 4) == home_of(HOT, 4))
    keys = list(islice(at_home, 200))
    await bench.publish([make_event(key, 0) for key in keys])
    async with bench.running(bench.worker(), max_in_flight=1):
        await until(bench.settled, "the end of the backlog", within_s=20)
    assert set(await bench.numbers()) == set(keys)
