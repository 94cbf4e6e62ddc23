"""An operator's retry really runs again, at its worker alone and in order; a discard settles; accounts balance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
from redis.asyncio import Redis

from adapters.json_guard import NotJson
from adapters.postgres.bus import days, epochs, outbox
from adapters.postgres.operator import audit
from adapters.postgres.operator.dead_letters import LetterFilter, find, groups
from adapters.postgres.pool import Pool
from daemon.bus.outcome import Outcome, Turn
from daemon.operator import dead_letters
from daemon.operator.dead_letters import LetterError
from schemas.envelope import Event, event_id
from schemas.errors import Refused
from tests.support.bus import Bench, FixedLeases, open_bench
from tests.support.toy import NOON, TOY, TYPE, Spy, make_event, make_events, succeed
from tests.support.until import until

ANY = LetterFilter()


@pytest.fixture
async def bench(redis: Redis, redis_url: str, db: Pool) -> AsyncIterator[Bench]:
    async with open_bench(redis_url, db) as made:
        yield made


async def refuse(event: Event, deps: object, turn: Turn) -> Outcome:
    raise Refused(f"blocked by {event.json().get('by', 'the account')}")


async def bury(bench: Bench, events: list[Event]) -> None:
    """Let the toy worker bury *events*."""
    await bench.publish(events)
    async with bench.running(bench.worker(refuse)):
        await until(bench.settled)


async def sweep(bench: Bench) -> None:
    """Publish the outbox, as a running daemon does."""
    rows = await outbox.left(bench.pool, older_than_s=0, limit=1000)
    await bench.bus.append([event for _, event in rows])
    await outbox.published(bench.pool, [seq for seq, _ in rows])


async def retry(bench: Bench, choice: LetterFilter = ANY, **options: Event) -> int:
    found = await dead_letters.choose(bench.pool, choice)
    heard: list[tuple[int, int]] = []
    count = await dead_letters.retry(
        bench.pool, [t.id for t in found], "tester", lambda done, of: heard.append((done, of)), **options
    )
    assert not found or heard[-1] == (len(found), len(found))
    return count


async def balanced(bench: Bench) -> audit.Sums:
    sums = await audit.sums(bench.pool, bench.worker().entry)
    assert sums.accepted == sums.done + sums.skipped + sums.dead + sums.uncertain + sums.open
    assert await audit.anomalies(bench.pool, TOY) == {}
    return sums


@asynccontextmanager
async def another_worker(bench: Bench, handler: Spy) -> AsyncIterator[None]:
    """A second worker on the same topic."""
    await bench.bus.ensure_groups("toy-2", bench.keys)
    held = FixedLeases(await epochs.take(bench.pool, "toy-2", range(bench.partitions), "me"))
    async with bench.running(replace(bench.worker(handler), name="toy-2"), leases=held):
        yield


async def test_a_letter_that_outlives_the_day_of_its_end_is_no_fault_and_can_be_retried(bench: Bench) -> None:
    await days.ensure_days(bench.pool)
    event = make_event("a")
    await bury(bench, [event])
    await bench.pool.execute("DELETE FROM inbox WHERE worker = $1", TOY)
    assert await audit.anomalies(bench.pool, TOY) == {"a dead letter without its end": [event.id]}
    await bench.pool.execute("UPDATE dead_letters SET buried_at = now() - interval '40 days'")
    assert await audit.anomalies(bench.pool, TOY) == {}
    assert await retry(bench) == 1
    await sweep(bench)
    async with bench.running(bench.worker(succeed)):
        await until(bench.settled)
    assert (await balanced(bench)).done == 1


async def test_a_retry_runs_again_and_the_accounts_balance_before_during_and_after(bench: Bench) -> None:
    one = make_event("key-1")
    await bury(bench, [one])
    assert (await balanced(bench)).dead == 1
    assert await retry(bench) == 1
    await balanced(bench)
    (letter,) = await find(bench.pool, None, one.id)
    assert (letter.state, letter.settled_by, letter.retries) == ("retried", "tester", 1)
    handler = Spy()
    async with bench.running(bench.worker(handler)):
        await sweep(bench)
        await until(lambda: _count_is(bench, "inbox", 1))
        await until(bench.settled)
    assert handler.calls == [("key-1", 0)]
    assert await bench.outcomes() == {one.id: "done"}
    assert (await balanced(bench)).done == 1


async def test_a_retry_starts_with_all_its_attempts(bench: Bench) -> None:
    one = make_event("key-1")
    await bury(bench, [one])
    await bench.pool.execute(
        "INSERT INTO attempts (worker, event_id, attempts, error_class, error_text, next_at, begun)"
        " VALUES ($1, $2, 7, 'E', 'e', now(), 4)",
        TOY,
        one.id,
    )
    await retry(bench)
    assert await bench.count("attempts") == 0


async def test_retrying_twice_without_a_new_burial_says_so_and_sends_nothing(bench: Bench) -> None:
    await bury(bench, [make_event("key-1")])
    (target,) = await dead_letters.choose(bench.pool, LetterFilter())
    assert await retry(bench, LetterFilter(ids=(target.id,))) == 1
    with pytest.raises(LetterError, match="was retried at"):
        await dead_letters.choose(bench.pool, LetterFilter(ids=(target.id,)))
    assert await dead_letters.retry(bench.pool, [target.id], "another", lambda done, of: None) == 0
    assert await bench.count("outbox") == 1
    with pytest.raises(LetterError, match="there is no dead letter 999"):
        await dead_letters.choose(bench.pool, LetterFilter(ids=(999,)))


async def test_a_letter_that_is_buried_again_is_open_again_and_can_be_retried_again(bench: Bench) -> None:
    one = make_event("key-1")
    await bury(bench, [one])
    for turn in (1, 2, 3):
        assert await retry(bench) == 1
        handler = Spy(refuse)
        async with bench.running(bench.worker(handler)):
            await sweep(bench)
            await until(lambda: _is_open(bench))
        assert len(handler.calls) == 1
        (letter,) = await find(bench.pool, None, one.id)
        assert (letter.state, letter.retries) == ("open", turn)
        assert (await balanced(bench)).dead == 1


async def test_a_group_is_retried_in_the_order_of_its_events(bench: Bench) -> None:
    events = [make_event("key-1", n)._replace(time=NOON + timedelta(minutes=n)) for n in (4, 0, 3, 1, 2)]
    await bury(bench, events)
    handler = Spy()
    assert await retry(bench, LetterFilter(worker=TOY, error_class="Refused", text="by the acc")) == 5
    async with bench.running(bench.worker(handler)):
        await sweep(bench)
        await until(lambda: _count_is(bench, "inbox", 5))
    assert handler.calls == [("key-1", n) for n in range(5)]


async def test_groups_are_by_worker_class_and_text(bench: Bench) -> None:
    await bury(bench, [make_event(f"key-{n}", by="Meta" if n % 3 else "CGB") for n in range(6)])
    first, second = await groups(bench.pool, LetterFilter())
    assert (first.error_text, first.count, second.count) == ("blocked by Meta", 4, 2)
    assert first.worker == TOY
    assert first.error_class == "Refused"
    assert first.oldest <= first.newest
    assert len(first.ids) == 4
    assert await retry(bench, LetterFilter(text="CGB")) == 2
    assert [group.count for group in await groups(bench.pool, LetterFilter())] == [4]
    assert await dead_letters.choose(bench.pool, LetterFilter(worker="nobody")) == []
    with pytest.raises(LetterError, match="not of that worker"):
        await dead_letters.choose(bench.pool, LetterFilter(ids=(first.ids[0],), worker="nobody"))


async def test_another_worker_lets_a_retry_pass_even_when_it_has_never_ended_with_the_event(bench: Bench) -> None:
    one = make_event("key-1")
    await bury(bench, [one])
    (target,) = await dead_letters.choose(bench.pool, LetterFilter())
    (letter,) = await find(bench.pool, target.id, None)
    await bench.redis.delete(*bench.keys)  # as after FERRYMAN_STREAM_HOURS
    await bench.bus.ensure_groups(TOY, bench.keys)
    await retry(bench, event=dead_letters.edited(letter, b'{"n": 7}'))
    mine, other = Spy(), Spy()
    async with bench.running(bench.worker(mine)), another_worker(bench, other):
        await sweep(bench)
        await until(lambda: len(mine.calls) == 1)
        await until(bench.settled)
        await until(lambda: _settled_for(bench, "toy-2"))
    assert mine.calls == [("key-1", 7)]
    assert other.calls == []
    assert await bench.count("event_conflicts") == 0


async def test_an_edited_retry_has_the_same_id_and_is_remembered_as_edited(bench: Bench) -> None:
    one = make_event("key-1", 1)
    await bury(bench, [one])
    (letter,) = await find(bench.pool, None, one.id)
    await retry(bench, LetterFilter(ids=(letter.id,)), event=dead_letters.edited(letter, b'{"n": 2}'))
    async with bench.running(bench.worker(Spy(refuse))):
        await sweep(bench)
        await until(lambda: _is_open(bench))
    (again,) = await find(bench.pool, letter.id, None)
    assert (again.event.id, again.event.data) == (one.id, b'{"n": 2}')
    assert again.edited_at is not None
    await balanced(bench)


def order_body(order_id: str, phone: str) -> bytes:
    client = {"name": "N", "phone": {"code": "972", "number": phone}}
    return orjson.dumps({"form": {"client": client}, "order": {"id": order_id, "branch": "il"}})


async def test_an_edited_order_gets_the_key_of_its_new_data_and_must_stay_the_same_order(bench: Bench) -> None:
    id = event_id("orders", "IL-1")
    event = Event(id=id, type=TYPE, source="orders", subject="order:IL-1", time=NOON, data=order_body("IL-1", "1"))
    await bury(bench, [event])
    (letter,) = await find(bench.pool, None, id)
    fixed = dead_letters.edited(letter, order_body("IL-1", "0505550001"))
    assert (fixed.id, fixed.subject, fixed.time) == (id, "+972505550001", NOON)
    with pytest.raises(LetterError, match="another event"):
        dead_letters.edited(letter, order_body("IL-2", "0505550001"))
    with pytest.raises(LetterError, match=r"order\.id"):
        dead_letters.edited(letter, b"{}")
    with pytest.raises(NotJson):
        dead_letters.edited(letter, b"[1]")


async def test_a_retry_of_a_replayed_event_keeps_its_replay_id(bench: Bench) -> None:
    one = make_event("key-1")
    await bench.publish([one])
    async with bench.running(bench.worker(succeed)):
        await until(bench.settled)
    replayed = one._replace(replayid=f"{TOY}:1")
    await bury(bench, [replayed])
    await retry(bench)
    handler = Spy()
    async with bench.running(bench.worker(handler)):
        await sweep(bench)
        await until(lambda: len(handler.calls) == 1)
        await until(bench.settled)
    rows = await bench.pool.fetch("SELECT replay_id, outcome FROM inbox ORDER BY replay_id")
    assert [tuple(row) for row in rows] == [("", "done"), (f"{TOY}:1", "done")]
    assert (await balanced(bench)).done == 1


async def test_a_discarded_letter_is_settled_and_its_event_stays_dead(bench: Bench) -> None:
    await bury(bench, [make_event("key-1"), make_event("key-2")])
    first, second = await dead_letters.choose(bench.pool, LetterFilter())
    assert await dead_letters.discard(bench.pool, [first.id], "tester") == 1
    assert await dead_letters.discard(bench.pool, [first.id], "tester") == 0
    assert [target.id for target in await dead_letters.choose(bench.pool, LetterFilter())] == [second.id]
    (letter,) = await find(bench.pool, first.id, None)
    assert (letter.state, letter.settled_by) == ("discarded", "tester")
    assert letter.settled_at is not None
    assert (await balanced(bench)).dead == 2
    with pytest.raises(LetterError, match="was discarded at"):
        await dead_letters.choose(bench.pool, LetterFilter(ids=(first.id,)))


async def test_letters_that_another_command_has_settled_meanwhile_are_counted_as_an_error(bench: Bench) -> None:
    await bury(bench, make_events(3, 1))
    numbers = [letter.id for letter in await dead_letters.choose(bench.pool, ANY)]
    assert await dead_letters.discard(bench.pool, numbers[:1], "another") == 1
    count = await dead_letters.retry(bench.pool, numbers, "tester", lambda done, of: None)
    with pytest.raises(LetterError, match="1 of 3 were no longer open"):
        dead_letters.require_all(count, len(numbers))
    dead_letters.require_all(3, 3)


async def test_the_letter_of_an_unreadable_entry_cannot_be_retried(bench: Bench) -> None:
    await bench.publish_fields(0, {"junk": "1"})
    async with bench.running(bench.worker(succeed)):
        await until(lambda: _count_is(bench, "dead_letters", 1))
    (target,) = await dead_letters.choose(bench.pool, LetterFilter())
    assert not target.runnable


async def _count_is(bench: Bench, table: str, count: int) -> bool:
    return await bench.count(table) == count


async def _is_open(bench: Bench) -> bool:
    return bool(await dead_letters.choose(bench.pool, LetterFilter()))


async def _settled_for(bench: Bench, worker: str) -> bool:
    return await bench.bus.lag(worker, bench.keys) == (0, 0)
