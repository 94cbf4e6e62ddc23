"""One consumer on real stores: what is handled once, in which order, and how it is logged."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Final, cast

import pytest
from structlog.testing import capture_logs

from adapters import permit
from adapters.postgres.bus import outbox
from adapters.redis.streams import Streams
from daemon.bus.outcome import Done, Later, Outcome, Row, Turn
from daemon.bus.worker import utc_now
from schemas.envelope import TYPES, Event, event_id
from schemas.errors import FerrymanError, LeaseLost, Permanent, Refused, Transient, Uncertain
from tests.support.bus import Bench, FixedLeases, make_upkeep, run
from tests.support.services import services
from tests.support.toy import (
    TOPIC,
    TOY,
    Broken,
    Effect,
    Spy,
    effect,
    emit_one,
    failing,
    fields_of,
    gated,
    home_of,
    make_event,
    make_events,
    napping,
    succeed,
)
from tests.support.until import until

ONE = make_event("key-1")


async def test_an_event_delivered_twice_in_one_batch_is_handled_once(bench: Bench) -> None:
    handler = Spy()
    await bench.publish([ONE, make_event("key-2"), ONE, ONE])
    async with bench.running(bench.worker(handler)):
        await until(bench.settled)
    assert sorted(handler.calls) == [("key-1", 0), ("key-2", 0)]
    assert await bench.numbers() == {"key-1": [0], "key-2": [0]}
    assert await bench.count("event_conflicts") == 0


async def test_an_event_delivered_again_later_is_handled_once(bench: Bench) -> None:
    handler = Spy()
    async with bench.running(bench.worker(handler)):
        for _ in range(3):
            await bench.publish([ONE])
            await until(bench.settled)
    assert handler.calls == [("key-1", 0)]
    assert await bench.outcomes() == {ONE.id: "done"}


async def test_an_event_delivered_again_while_it_is_handled_is_handled_once(bench: Bench) -> None:
    gate = asyncio.Event()
    handler = Spy(gated(gate))
    async with bench.running(bench.worker(handler)) as consumer:
        await bench.publish([ONE])
        await until(lambda: handler.active == 1)
        await bench.publish([ONE])
        await until(lambda: len(consumer.lanes) == 2)
        gate.set()
        await until(bench.settled)
    assert handler.calls == [("key-1", 0)]


async def test_a_handler_whose_lease_has_run_out_sends_nothing_more_and_that_costs_no_attempt(bench: Bench) -> None:
    """Promise: what it had decided before goes out only if the event is certainly still its own."""
    leases, sent = await bench.take_leases(), 0

    async def send(event: Event, deps: object, turn: Turn) -> Outcome:
        nonlocal sent
        if turn.step == "":
            return Later(turn.now, step="write", memo=turn.attempt)
        await gate.wait()
        permit.may_send()
        sent += 1
        assert (turn.step, turn.memo) == ("write", 1)  # no other process has held the lease: what was found still holds
        return Done()

    gate = asyncio.Event()
    handler = Spy(send)
    async with bench.running(bench.worker(handler), leases=leases) as consumer:
        await bench.publish([ONE])
        await until(lambda: handler.active == 1 and len(handler.calls) == 2)
        leases.unreadable = set(leases.owned)
        gate.set()
        await until(lambda: handler.active == 0)
        assert (sent, len(consumer.lanes)) == (0, 1)
        leases.unreadable = set()
        await until(bench.settled)
    assert sent == 1
    assert await bench.outcomes() == {ONE.id: "done"}
    assert await bench.attempts() == {}


async def test_a_task_that_a_handler_leaves_behind_sends_nothing_once_the_handler_is_over(bench: Bench) -> None:
    over = asyncio.Event()

    async def linger() -> None:
        await over.wait()
        permit.may_send()

    left: list[asyncio.Task[None]] = []

    async def leave(event: Event, deps: object, turn: Turn) -> Outcome:
        left.append(asyncio.create_task(linger()))
        return Done()

    async with bench.running(bench.worker(leave)):
        await bench.publish([ONE])
        await until(bench.settled)
        over.set()
        with pytest.raises(LeaseLost):
            await left[0]


async def test_copies_that_arrive_as_the_first_ends_are_never_handled(bench: Bench) -> None:
    handler = Spy()
    events = make_events(keys=20, each=10)
    async with bench.running(bench.worker(handler)):
        for event in events:
            await bench.publish([event])
            await bench.publish([event])
        await until(bench.settled)
    assert len(handler.calls) == len(set(handler.calls)) == len(events)


async def test_an_event_delivered_again_after_a_restart_is_handled_once(bench: Bench) -> None:
    handler = Spy()
    for _ in range(2):
        await bench.publish([ONE])
        async with bench.running(bench.worker(handler)):
            await until(bench.settled)
    assert handler.calls == [("key-1", 0)]
    assert await bench.outcomes() == {ONE.id: "done"}


@pytest.mark.parametrize("when", ["in one batch", "while it is handled", "later"])
async def test_the_same_id_with_another_body_is_flagged_and_has_one_effect(bench: Bench, when: str) -> None:
    gate = asyncio.Event()
    handler = Spy(gated(gate))
    other = make_event("key-1", id=ONE.id, surprise=True)
    async with bench.running(bench.worker(handler)):
        if when == "in one batch":
            await bench.publish([ONE, other])
        else:
            await bench.publish([ONE])
            await until(lambda: handler.active == 1)
        if when == "while it is handled":
            await bench.publish([other])
            await until(lambda: bench.has("event_conflicts", 1))
        gate.set()
        await until(bench.settled)
        if when == "later":
            await bench.publish([other])
            await until(bench.settled)
    assert handler.calls == [("key-1", 0)]
    flagged = await bench.pool.fetch("SELECT event_id, data FROM event_conflicts")
    assert [(row["event_id"], row["data"]) for row in flagged] == [(ONE.id, other.data.decode())]


async def test_spacing_and_the_order_of_members_make_no_other_body(bench: Bench) -> None:
    await bench.publish([make_event("key-1", a=1)])
    respaced = make_event("key-1", a=1).with_data(b'{ "a": 1,  "n": 0 }')
    await bench.publish([respaced])
    async with bench.running():
        await until(bench.settled)
        await bench.publish([respaced])
        await until(bench.settled)
    assert await bench.count("event_conflicts") == 0


# --- order -------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
async def test_events_of_a_key_are_handled_in_order_whatever_fails_or_takes_long(bench: Bench, seed: int) -> None:
    rng = random.Random(seed)

    async def rough(event: Event, deps: object, turn: Turn) -> Outcome:
        await asyncio.sleep(rng.random() * 0.004)
        if rng.random() < 0.08:
            raise Transient("busy", limited=True, retry_after_s=0.0)  # comes again within half a second
        return Done(rows=(effect(event),))

    events = make_events(keys=40, each=50)
    handler = Spy(rough)
    async with bench.running(bench.worker(handler, lanes=40)):
        for at in range(0, len(events), 250):
            await bench.publish(events[at : at + 250])
        await until(bench.settled, within_s=90)
    assert await bench.numbers() == {f"key-{k}": list(range(50)) for k in range(40)}
    assert len(handler.calls) > len(events)
    assert set((await bench.outcomes()).values()) == {"done"}


async def test_nothing_newer_overtakes_an_event_that_fails_twice(bench: Bench) -> None:
    async def first_fails(event: Event, deps: object, turn: Turn) -> Outcome:
        if event.json()["n"] == 0 and turn.attempt <= 2:
            raise Transient("away")
        return Done(rows=(effect(event, str(turn.attempt)),))

    handler = Spy(first_fails)
    await bench.publish(make_events(keys=1, each=10))
    async with bench.running(bench.worker(handler)):
        await until(bench.settled)
    assert [n for _, n in handler.calls] == [0, 0, *range(10)]
    assert [(e.n, e.note) for e in await bench.effects()] == [(0, "3"), *((n, "1") for n in range(1, 10))]
    assert await bench.attempts() == {}


async def test_a_key_that_fails_on_and_on_does_not_slow_the_others(bench: Bench) -> None:
    async def one_fails(event: Event, deps: object, turn: Turn) -> Outcome:
        if event.subject == "key-0":
            raise Transient("busy", limited=True, retry_after_s=0.05)
        return await succeed(event, deps, turn)

    events = make_events(keys=201, each=2)
    handler = Spy(one_fails)
    async with bench.running(bench.worker(handler, lanes=2)) as consumer:
        await bench.publish(events)
        await until(lambda: bench.has("effects", 400))
        assert len(consumer.lanes) == 2  # of the failing key, and nothing else waits
        assert ("key-0", 1) not in handler.calls
    assert await bench.attempts() == {}


async def test_what_is_due_later_waits_in_its_lane_and_other_keys_do_not(bench: Bench) -> None:
    due = utc_now() + timedelta(seconds=1.5)
    seen: list[tuple[str, object]] = []

    async def in_steps(event: Event, deps: object, turn: Turn) -> Outcome:
        if event.subject == "key-0" and event.json()["n"] == 0:
            seen.append((turn.step, turn.memo))
            if turn.step == "":
                return Later(due, rows=(effect(event, "asked"),), step="answered", memo={"x": 1})
            assert turn.now >= due
            assert turn.attempt == 1
        return await succeed(event, deps, turn)

    async with bench.running(bench.worker(in_steps, lanes=1)):
        await bench.publish(make_events(keys=10, each=3))
        await until(lambda: bench.has("effects", 1 + 9 * 3))
        assert utc_now() < due
        assert [e.note for e in await bench.effects() if e.subject == "key-0"] == ["asked"]
        await until(bench.settled)
    assert seen == [("", None), ("answered", {"x": 1})]
    assert (await bench.numbers())["key-0"] == [0, 0, 1, 2]


async def test_what_a_killed_process_had_read_is_handled_in_order_before_anything_new(bench: Bench) -> None:
    events = make_events(keys=10, each=30)
    await bench.publish(events[:200])
    taken = await bench.read_without_ack()
    assert len(taken) == 200
    await bench.publish(events[200:])
    handler = Spy()
    async with bench.running(bench.worker(handler)):
        await until(bench.settled)
    assert await bench.numbers() == {f"key-{k}": list(range(30)) for k in range(10)}
    assert len(handler.calls) == 300


async def test_what_is_in_hand_and_not_begun_gives_way_to_what_was_recovered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its channel was away when the newer event came; the older one had been lost unread."""
    back = asyncio.Event()

    async def waits(event: Event, deps: object, turn: Turn) -> Outcome:
        if not back.is_set():
            return Later(turn.now + timedelta(seconds=0.3), step=turn.step)
        return await succeed(event, deps, turn)

    appends, newer = bench.bus.appends, make_event("key-1", 1)
    handler = Spy(waits)
    await bench.publish([newer])
    async with bench.running(bench.worker(handler)) as consumer:
        await until(lambda: handler.calls)
        key = bench.keys[home_of("key-1", bench.partitions)]
        ((entry_id, _),) = cast("list[tuple[bytes, object]]", await bench.redis.xrange(key))
        monkeypatch.setattr(appends, "_recovers", True)
        assert await appends.restarted(), "it does not know this process yet"
        await bench.publish_lost([make_event("key-1", 0), newer])
        await bench.redis.xdel(key, entry_id)
        await bench.redis.xack(key, TOY, entry_id)
        appends.trust("", "another mark")
        await until(lambda: len(consumer.lanes) == 2)
        back.set()
        await until(bench.settled)
    assert await bench.numbers() == {"key-1": [0, 1]}


# --- one transaction ---------------------------------------------------------


async def test_rows_inbox_and_outbox_are_written_together_or_not_at_all(bench: Bench) -> None:
    broken = Broken(ConnectionResetError())  # the store's fault, so it is tried again
    await bench.publish(make_events(keys=3, each=1))
    async with bench.running(bench.worker(emit_one, record=broken)):
        await until(lambda: broken.calls >= 2)
        for table in ("effects", "inbox", "outbox", "dead_letters", "attempts"):
            assert await bench.count(table) == 0
        assert not bench.stores.postgres.up
        assert await bench.entries("contacts") == []
        broken.error = None
        await until(bench.settled)
        await until(lambda: bench.has("outbox", 0))
    assert await bench.numbers() == {f"key-{k}": [0] for k in range(3)}
    assert len(await bench.entries("contacts")) == 3
    assert set((await bench.outcomes()).values()) == {"done"}


async def test_of_a_batch_only_the_event_whose_rows_are_refused_becomes_a_dead_letter(bench: Bench) -> None:
    gate = asyncio.Event()

    async def one_bad(event: Event, deps: object, turn: Turn) -> Outcome:
        await gate.wait()
        good = effect(event)
        bad = Effect(good.event_id, good.subject, -1)
        return Done(rows=(good, bad) if event.subject == "key-13" else (good,))

    handler = Spy(one_bad)
    await bench.publish(make_events(keys=50, each=1))
    async with bench.running(bench.worker(handler)):
        await until(lambda: handler.active == 50)
        gate.set()  # so that all of them are in one batch, or in few
        await until(bench.settled)
    bad_id = make_event("key-13").id
    assert await bench.numbers() == {f"key-{k}": [0] for k in range(50) if k != 13}
    ends = await bench.outcomes()
    assert ends.pop(bad_id) == "dead"
    assert set(ends.values()) == {"done"}
    (letter,) = await bench.pool.fetch("SELECT * FROM dead_letters")
    assert (letter["event_id"], letter["error_class"]) == (bad_id, "Unwritten")
    assert letter["error_text"].startswith("its results cannot be written (CheckViolationError 23514 ")
    assert len(handler.calls) == 50


async def test_the_worker_says_how_an_event_ends_whose_results_cannot_be_written(bench: Bench) -> None:
    async def bad(event: Event, deps: object, turn: Turn) -> Outcome:
        return Done(rows=(Effect(event.id, event.subject, -1),))

    def farewell(event: Event, error: FerrymanError, turn: Turn) -> Sequence[Row]:
        return (effect(event, type(error).__name__),)

    await bench.publish([make_event("key-1")])
    async with bench.running(bench.worker(bad, buried=farewell)):
        await until(bench.settled)
    assert [one.note for one in await bench.effects()] == ["Unwritten"]
    assert await bench.count("dead_letters") == 1


async def test_an_error_that_quotes_what_postgres_cannot_keep_is_kept_without_it(bench: Bench) -> None:
    async def rude(event: Event, deps: object, turn: Turn) -> Outcome:
        if event.subject == "key-1" and turn.attempt == 1:
            raise Transient("they said \x00 and \ud800")
        if event.subject == "key-2":
            raise Refused("they said \x00 and \ud800")
        if event.subject == "key-3":
            raise Uncertain("they said \x00 and \ud800")
        return await succeed(event, deps, turn)

    await bench.publish([make_event(f"key-{k}") for k in (1, 2, 3)])
    async with bench.running(bench.worker(rude)):
        await until(bench.settled)
    ends = await bench.outcomes()
    assert [ends[make_event(f"key-{k}").id] for k in (1, 2, 3)] == ["done", "dead", "uncertain"]
    assert await bench.pool.fetchval("SELECT error_class FROM dead_letters") == "Refused"


async def test_an_entry_that_is_no_event_becomes_a_dead_letter_and_no_handler_sees_it(bench: Bench) -> None:
    handler = Spy()
    await bench.publish_fields(0, {"hello": b"wor\x00ld \xff"})
    await bench.publish_fields(1, fields_of(ONE, schemaversion="99"))
    await bench.publish_fields(2, fields_of(make_event("key\x00")))
    await bench.publish([make_event("key-2")])
    async with bench.running(bench.worker(handler)):
        await until(bench.settled)
        await bench.publish_fields(0, {"again": "1"})
        await until(bench.settled)
    assert handler.calls == [("key-2", 0)]
    letters = await bench.pool.fetch("SELECT * FROM dead_letters ORDER BY id")
    assert len(letters) == 4
    assert {letter["error_class"] for letter in letters} == {"Malformed"}
    assert any("hello=wor" in letter["data"] for letter in letters)
    assert any("99 is newer" in letter["error_text"] for letter in letters)
    ends = await bench.outcomes()
    assert sorted(ends.values()) == ["dead"] * 4 + ["done"]
    assert {letter["event_id"] for letter in letters} <= set(ends)


async def test_types_that_are_not_the_workers_business_are_acknowledged_and_count_nowhere(bench: Bench) -> None:
    handler = Spy()
    for number, other in enumerate(sorted(set(TYPES) - {"order.received"})):
        await bench.publish_fields(0, fields_of(make_event("key-1", number), type=other))
    async with bench.running(bench.worker(handler)):
        await until(bench.settled)
    assert handler.calls == []
    for table in ("inbox", "dead_letters", "attempts", "effects"):
        assert await bench.count(table) == 0


async def test_an_entry_that_was_deleted_while_pending_does_not_stop_the_rest(bench: Bench) -> None:
    await bench.publish([ONE, make_event("key-2")])
    for delivery in await bench.read_without_ack():
        if delivery.fields[b"subject"] == b"key-1":
            await bench.redis.xdel(delivery.key, delivery.id)
    async with bench.running():
        await until(bench.settled)
    assert await bench.numbers() == {"key-2": [0]}


async def test_emitted_events_are_published_once_where_they_belong_with_ids_that_follow_from_the_cause(
    bench: Bench,
) -> None:
    async def emit_some(event: Event, deps: object, turn: Turn) -> Outcome:
        return Done(
            emit=(
                event.emit("contact.synced", 0, {}, time=turn.now),
                event.emit("contact.synced", 1, {}, time=turn.now, subject="key-of-another"),
                event.emit("message.requested", 0, {}, time=turn.now),
            )
        )

    events = make_events(keys=20, each=2)
    await bench.publish(events)
    async with bench.running(bench.worker(emit_some)):
        await bench.publish(events)  # the copies emit nothing
        await until(bench.settled)
        await until(lambda: bench.has("outbox", 0))
    for topic, type, places in (("contacts", "contact.synced", 2), ("messages", "message.requested", 1)):
        found = await bench.entries(topic)
        assert all(fields["type"] == type for _, fields in found)
        assert all(partition == home_of(fields["subject"], bench.partitions) for partition, fields in found)
        wanted = [event_id("ferryman", e.id, "", type, str(place)) for e in events for place in range(places)]
        assert sorted(fields["id"] for _, fields in found) == sorted(wanted)
        for key in (f"key-{k}" for k in range(20)):
            causes = [fields["causationid"] for _, fields in found if fields["subject"] == key]
            assert causes == [make_event(key, n).id for n in range(2)]


# --- failures ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "name", "text", "attempts"),
    [
        (Refused("the other side said no"), "Refused", "the other side said no", 1),
        (Permanent("x" * 2000), "Permanent", "x" * 500, 1),
        (Transient("away"), "Transient", "away", 3),
        (LookupError("+15550100142"), "Unexpected", "the handler raised LookupError", 3),
    ],
)
async def test_a_dead_letter_has_the_event_the_error_and_how_often_it_was_tried(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception, name: str, text: str, attempts: int
) -> None:
    monkeypatch.setattr("daemon.bus.settle.BACKOFF_CAP_S", 0.05)

    def farewell(event: Event, error: Exception, turn: Turn) -> Sequence[Row]:
        return (effect(event, f"buried {type(error).__name__} {turn.attempt}"),)

    handler = Spy(failing(error))
    await bench.publish([ONE])
    async with bench.running(bench.worker(handler, attempts=3, buried=farewell)):
        await until(bench.settled)
    assert len(handler.calls) == attempts
    letter = await bench.pool.fetchrow("SELECT * FROM dead_letters")
    assert letter is not None
    assert (letter["worker"], letter["event_id"], letter["subject"], letter["type"]) == (TOY, ONE.id, "key-1", ONE.type)
    assert letter["data"] == ONE.data.decode()
    assert (letter["error_class"], letter["error_text"], letter["attempts"]) == (name, text, attempts)
    assert await bench.outcomes() == {ONE.id: "dead"}
    assert [e.note for e in await bench.effects()] == [f"buried {name} {attempts}"]
    assert await bench.attempts() == {}


async def test_a_dead_letter_lets_the_next_of_its_key_go(bench: Bench) -> None:
    async def first_refused(event: Event, deps: object, turn: Turn) -> Outcome:
        if event.json()["n"] == 0:
            raise Refused("no")
        return await succeed(event, deps, turn)

    await bench.publish(make_events(keys=1, each=3))
    async with bench.running(bench.worker(first_refused)):
        await until(bench.settled)
    assert await bench.numbers() == {"key-0": [1, 2]}


async def test_counted_attempts_survive_a_restart(bench: Bench) -> None:
    for restarts in (1, 2):
        handler = Spy(failing(Transient("away", retry_after_s=3600.0)))
        await bench.publish([ONE] if restarts == 1 else [])
        async with bench.running(bench.worker(handler, attempts=3)):
            await until(partial(bench.has, f"attempts WHERE attempts = {restarts}", 1))
        assert [turn.attempt for turn in handler.turns] == [restarts]
    row = await bench.pool.fetchrow("SELECT * FROM attempts")
    assert row is not None
    assert (row["error_class"], row["error_text"]) == ("Transient", "away")
    assert timedelta(seconds=250) < row["next_at"] - utc_now() < timedelta(seconds=310)
    async with bench.running(bench.worker(Spy(failing(Transient("away", retry_after_s=3600.0))), attempts=3)):
        await until(bench.settled)
    assert await bench.pool.fetchval("SELECT attempts FROM dead_letters") == 3
    assert await bench.attempts() == {}


async def test_uncertain_ends_uncertain_where_it_must_not_be_repeated(bench: Bench) -> None:
    handler = Spy(failing(Uncertain("no answer came")))
    await bench.publish([ONE])
    async with bench.running(bench.worker(handler, on_uncertain="hold")):
        await until(bench.settled)
    assert len(handler.calls) == 1
    row = await bench.pool.fetchrow("SELECT outcome, reason FROM inbox")
    assert row is not None
    assert tuple(row) == ("uncertain", "no answer came")
    assert await bench.count("dead_letters") == 0


@pytest.mark.parametrize("on_uncertain", ["hold", "retry"])
async def test_a_handler_that_passes_its_deadline_is_stopped_and_leaves_it_open_what_happened(
    bench: Bench, on_uncertain: str
) -> None:
    async def stuck(event: Event, deps: object, turn: Turn) -> Outcome:
        if turn.attempt == 1:
            await asyncio.Event().wait()
        return await succeed(event, deps, turn)

    await bench.publish([ONE])
    worker = bench.worker(stuck, deadline_s=0.1, on_uncertain="hold" if on_uncertain == "hold" else "retry")
    async with bench.running(worker):
        await until(bench.settled)
    ended = {"hold": "uncertain", "retry": "done"}[on_uncertain]
    assert await bench.outcomes() == {ONE.id: ended}


@pytest.mark.parametrize("most", [1, 3, 10])
async def test_no_more_is_read_than_may_be_in_flight(bench: Bench, most: int) -> None:
    gate = asyncio.Event()
    await bench.publish(make_events(keys=30, each=3))
    async with bench.running(bench.worker(gated(gate)), max_in_flight=most) as consumer:
        await until(lambda: len(consumer.lanes) >= most)
        for _ in range(20):
            unread, pending = await bench.open_entries()
            assert pending == most
            assert unread == 90 - most
        gate.set()
        held = 0
        while not await bench.settled():
            held = max(held, len(consumer.lanes))
        assert held <= most
    assert await bench.numbers() == {f"key-{k}": [0, 1, 2] for k in range(30)}


async def test_no_more_keys_are_handled_side_by_side_than_the_worker_has_lanes(bench: Bench) -> None:
    handler = Spy(napping(0.002))
    await bench.publish(make_events(keys=30, each=3))
    async with bench.running(bench.worker(handler, lanes=7)):
        await until(bench.settled)
    assert handler.most == 7


async def test_a_stop_finishes_what_is_in_a_slot_and_leaves_the_rest_as_it_was(bench: Bench) -> None:
    gate = asyncio.Event()

    async def slow(event: Event, deps: object, turn: Turn) -> Outcome:
        if event.subject == "key-9":
            return Later(turn.now + timedelta(hours=1), step="much later")
        await gate.wait()
        return await succeed(event, deps, turn)

    handler = Spy(slow)
    await bench.publish([make_event("key-9"), *make_events(keys=3, each=5)])
    async with bench.consumer(bench.worker(handler, lanes=3)) as consumer:
        async with run(consumer):
            await until(lambda: handler.active == 3)
            consumer.stop()
            gate.set()
        assert await bench.numbers() == {f"key-{k}": [0] for k in range(3)}
    assert await bench.open_entries() == (0, 13)
    assert await bench.attempts() == {}
    assert len(handler.calls) == 4
    rest = Spy()
    async with bench.running(bench.worker(rest)):
        await until(bench.settled)
    assert await bench.numbers() == {"key-9": [0]} | {f"key-{k}": list(range(5)) for k in range(3)}
    assert {turn.attempt for turn in rest.turns} == {1}
    assert {turn.step for turn in rest.turns} == {""}


async def test_an_idle_consumer_stops_within_one_read(bench: Bench) -> None:
    async with bench.consumer() as consumer:
        task = asyncio.create_task(consumer.run())
        await until(bench.waits)
        consumer.stop()
        await until(task.done, within_s=2)
        await task


async def test_a_consumer_that_is_cancelled_ends_though_the_client_swallows_the_cancellation(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis-py does so where it comes while a timeout of its own ends."""
    waiting, swallowed = asyncio.Event(), 0

    async def swallowing(self: Streams, after: Mapping[str, str], *, block_ms: int) -> bool:
        nonlocal swallowed
        waiting.set()
        try:
            await asyncio.sleep(block_ms / 1000)
        except asyncio.CancelledError:
            swallowed += 1
        return False

    monkeypatch.setattr(Streams, "wait", swallowing)
    async with bench.consumer() as consumer:
        task = asyncio.create_task(consumer.run())
        await waiting.wait()
        task.cancel()
        await until(task.done, within_s=2)
        assert task.cancelled()
    assert swallowed


async def test_an_error_of_a_part_ends_the_consumer_and_is_raised(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def faulty(*_: object, **options: object) -> None:
        raise ZeroDivisionError

    async with bench.consumer(bench.worker()) as consumer:
        monkeypatch.setattr(Streams, "read", faulty)
        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(10):
                await consumer.run()


async def test_a_fault_after_the_commit_ends_the_consumer_and_leaves_nothing_silently_unacknowledged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def faulty(*_: object) -> None:
        raise ZeroDivisionError

    await bench.publish([ONE])
    async with bench.consumer(bench.worker()) as consumer:
        monkeypatch.setattr(bench.bus, "ack", faulty)
        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(10):
                await consumer.run()


async def test_a_fault_in_the_worker_s_farewell_does_not_keep_a_dead_letter_from_being_written(bench: Bench) -> None:
    def faulty(event: Event, error: Exception, turn: Turn) -> Sequence[Row]:
        raise ZeroDivisionError

    await bench.publish([ONE])
    async with bench.running(bench.worker(failing(Refused("no")), buried=faulty)):
        await until(lambda: bench.is_ended(1))
    assert list((await bench.outcomes()).values()) == ["dead"]


LOSSES: Final[dict[str, Callable[[Bench], list[tuple[str, ...]]]]] = {
    "a group destroyed": lambda bench: [("XGROUP", "DESTROY", key, TOY) for key in bench.keys],
    "the streams deleted": lambda bench: [("DEL", key) for key in bench.keys],
    "everything flushed": lambda bench: [("FLUSHALL",)],
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
async def test_lost_groups_are_made_again_and_new_events_flow(bench: Bench, loss: str, busy: bool) -> None:
    before = [make_event(f"before-{k}", n) for n in range(30) for k in range(10)]
    after = make_events(keys=10, each=10)
    async with bench.running(bench.worker(napping(0.001), lanes=4)) as consumer:
        await bench.publish(before)
        if busy:
            await until(lambda: len(consumer.lanes) > 20)
        else:
            await until(bench.settled)
            await until(bench.waits)
        await bench.command("CONFIG", "RESETSTAT")
        began = time.monotonic()
        for command in LOSSES[loss](bench):
            await bench.command(*command)
        await bench.publish(after)
        await until(lambda: bench.has("effects WHERE subject ^@ 'key-'", 100), within_s=10)
        took_s = time.monotonic() - began
        calls = await bench.reads_made()
        assert calls < 30 + bench.reads_a_second * took_s  # no hot loop
        await until(bench.settled)
    done = await bench.numbers()
    assert {key: numbers for key, numbers in done.items() if key.startswith("key-")} == {
        f"key-{k}": list(range(10)) for k in range(10)
    }
    for key, numbers in done.items():
        assert numbers == list(range(len(numbers))), key  # what was read or is still there: once, and in order


async def test_what_is_in_hand_while_its_group_is_made_anew_is_finished_once(bench: Bench) -> None:
    """Promise: an entry that is delivered a second time does not leave the first one waiting for ever."""
    gate = asyncio.Event()
    handler = Spy(gated(gate))
    events = [make_event(f"key-{k}", n) for n in range(3) for k in range(4)]
    async with bench.running(bench.worker(handler)) as consumer:
        await bench.publish(events)
        await until(lambda: handler.active == 4 and len(consumer.lanes) == len(events))
        for key in bench.keys:
            await bench.command("XGROUP", "DESTROY", key, TOY)
        await bench.publish([make_event("key-0", 3)])  # read when the groups are there again, and all the others too
        await until(lambda: len(consumer.lanes) == len(events) + 1)
        gate.set()
        await until(bench.settled)
    assert len(handler.calls) == len(set(handler.calls)) == len(events) + 1
    assert await bench.numbers() == {"key-0": [0, 1, 2, 3]} | {f"key-{k}": [0, 1, 2] for k in range(1, 4)}


async def test_what_a_crash_left_in_the_outbox_is_swept_in_order_and_younger_rows_are_left_alone(bench: Bench) -> None:
    left = make_events(keys=3, each=100)
    async with bench.pool.acquire() as conn:
        await outbox.emit(conn, left)
        await conn.execute("UPDATE outbox SET created_at = now() - interval '6 seconds'")
        await outbox.emit(conn, [make_event("young")])
        await conn.execute("UPDATE outbox SET created_at = now() + interval '1 hour' WHERE subject = 'young'")
    async with services(*make_upkeep(bench.pool, bench.bus).duties):
        await until(lambda: bench.has("outbox", 1))
    found = [fields["id"] for _, fields in sorted(await bench.entries(TOPIC), key=lambda entry: entry[0])]
    for key in {event.subject for event in left}:
        mine = [event.id for event in left if event.subject == key]
        assert [id for id in found if id in mine] == mine
    assert len(found) == 300


async def test_ordinary_ends_are_logged_at_debug_and_counted_once_a_minute(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: at info there is one line for many events, and one each for what failed, was retried or took long."""
    refused, retried, slow = make_event("refused"), make_event("retried"), make_event("slow")

    async def handle(event: Event, deps: object, turn: Turn) -> Outcome:
        if event.id == refused.id:
            raise Refused("no")
        if event.id == retried.id and turn.attempt == 1:
            raise Transient("once")
        if event.id == slow.id:
            await asyncio.sleep(1.6)
        return await succeed(event, deps, turn)

    monkeypatch.setattr("daemon.bus.tally.SLOW_S", 1.5)
    with capture_logs() as lines:
        async with bench.running(bench.worker(handle)):
            await bench.publish([*make_events(keys=5, each=2), refused, retried, slow])
            await until(bench.settled)
    told = [line for line in lines if line["log_level"] != "debug"]
    ends = {line["event_id"]: line["outcome"] for line in told if line["event"] == "event.settled"}
    assert ends == {refused.id: "dead", retried.id: "done", slow.id: "done"}
    assert [line["event_id"] for line in told if line["event"] == "event.retry"] == [retried.id]
    (counted,) = [line for line in told if line["event"] == "worker.counted"]
    assert (counted["done"], counted["dead"], counted["retried"], counted["open"]) == (12, 1, 1, 0)
    assert not {"key-0", "refused"} & {str(value) for line in lines for value in line.values()}


async def test_what_was_read_under_an_earlier_lease_is_not_begun_under_a_later_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: so it is also when the process has its lease again and its reader has not noticed the loss."""
    monkeypatch.setattr("daemon.bus.consumer.LEASE_LOOK_S", 0.02)

    async def in_two_steps(event: Event, deps: object, turn: Turn) -> Outcome:
        if turn.step == "":
            return Later(turn.now + timedelta(seconds=0.3), step="second")
        return await succeed(event, deps, turn)

    waits, may_go_on = asyncio.Event(), asyncio.Event()

    async def held_up(self: Streams, after: Mapping[str, str], *, block_ms: int) -> bool:
        waits.set()
        await may_go_on.wait()
        return False

    class Watched(FixedLeases):
        refused = 0

        def certain(self, worker: str, partition: int, epoch: int) -> bool:
            held = super().certain(worker, partition, epoch)
            self.refused += not held
            return held

    handler, leases = Spy(in_two_steps), Watched((await bench.take_leases()).owned)
    monkeypatch.setattr(Streams, "wait", held_up)
    await bench.publish([make_event("key-1")])
    async with bench.running(bench.worker(handler), leases=leases):
        await waits.wait()
        assert len(handler.calls) == 1
        leases.owned = (await bench.take_leases()).owned
        await until(lambda: leases.refused >= 3)
        assert len(handler.calls) == 1
        may_go_on.set()
        await until(bench.settled)
    assert [turn.step for turn in handler.turns] == ["", "", "second"]
    assert await bench.numbers() == {"key-1": [0]}
