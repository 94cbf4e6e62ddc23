"""Lanes: order within a key, keys side by side, and nothing that was dropped is ever handed out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from adapters.redis.limits import Ticket
from adapters.redis.streams import stream_key
from daemon.bus.lanes import Entry, Lanes
from daemon.bus.left import EntryRef, LeftEntry
from tests.support.fake_loop import FakeLoop
from tests.support.toy import TOPIC, make_event


def entry(subject: str, number: int, *, event: str = "", partition: int = 0) -> Entry:
    """The entry *number* of the stream; entries of one event have one *event*."""
    made = make_event(subject, number, id=event or f"event-{number}")
    return Entry(EntryRef(stream_key(TOPIC, partition), f"{number}-0"), partition, made)


async def handed_out(lanes: Lanes) -> Entry | None:
    """What a slot gets that asks now, or None when it would wait."""
    asking = asyncio.create_task(lanes.next())
    for _ in range(3):
        await asyncio.sleep(0)
    if asking.done():
        return asking.result()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    return None


@pytest.fixture
def lanes() -> Lanes:
    return Lanes()


async def test_entries_of_a_key_are_handed_out_one_after_another_in_order(lanes: Lanes) -> None:
    entries = [entry("key-1", n) for n in range(5)]
    for held in entries:
        lanes.add(held)
    for held in entries:
        assert await handed_out(lanes) is held
        assert await handed_out(lanes) is None  # until it is committed
        assert lanes.done(held) == [held.ref]
    assert len(lanes) == 0


async def test_keys_are_handed_out_side_by_side(lanes: Lanes) -> None:
    entries = [entry(f"key-{k}", 10 * k + n) for n in range(3) for k in range(4)]
    for held in entries:
        lanes.add(held)
    assert [await handed_out(lanes) for _ in range(5)] == [*entries[:4], None]


async def test_what_waits_takes_no_slot_and_holds_back_only_its_own_key() -> None:
    lanes, loop = Lanes(), asyncio.get_running_loop()
    waiting, behind, other = entry("key-1", 1), entry("key-1", 2), entry("key-2", 3)
    for held in (waiting, behind, other):
        lanes.add(held)
    assert await handed_out(lanes) is waiting
    began = loop.time()
    lanes.again(waiting, 0.2)
    assert await handed_out(lanes) is other
    assert await handed_out(lanes) is None
    async with asyncio.timeout(10):
        assert await lanes.next() is waiting
    assert loop.time() - began >= 0.19
    lanes.done(waiting)
    assert await handed_out(lanes) is behind


async def test_what_is_parked_waits_for_its_provider_oldest_first(lanes: Lanes) -> None:
    entries = [entry(f"key-{n}", n) for n in range(4)]
    for held in entries:
        lanes.add(held)
        assert await handed_out(lanes) is held
        lanes.park(held, "test")
    assert lanes.parked == {"test": 4}
    assert await handed_out(lanes) is None
    lanes.unpark("test", count=1)
    assert await handed_out(lanes) is entries[0]
    assert await handed_out(lanes) is None
    lanes.unpark("test")
    assert [await handed_out(lanes) for _ in range(4)] == [*entries[1:], None]
    assert lanes.parked == {}


async def test_what_may_go_by_another_provider_waits_apart_and_counts_for_its_own(lanes: Lanes) -> None:
    bound, free = entry("key-1", 1), entry("key-2", 2)
    for held, channels in ((bound, ("test",)), (free, ("test", "other"))):
        lanes.add(held)
        assert await handed_out(lanes) is held
        lanes.park(held, *channels)
    assert (lanes.parked, set(lanes.awaited)) == ({"test": 2}, {("test",), ("test", "other")})
    lanes.unpark("test", "other")
    assert [await handed_out(lanes) for _ in range(2)] == [free, None]
    assert (lanes.parked, lanes.awaited) == ({"test": 1}, [("test",)])


async def test_copies_of_an_event_are_acknowledged_with_the_first_and_handed_out_never(lanes: Lanes) -> None:
    first, *copies = [entry("key-1", n, event="one") for n in range(3)]
    after = entry("key-1", 9)
    for held in (first, *copies, after):
        lanes.add(held)
    assert await handed_out(lanes) is first
    assert all(lanes.holds(held.ref) for held in copies)
    assert lanes.done(first) == [held.ref for held in (first, *copies)]
    assert await handed_out(lanes) is after
    assert len(lanes) == 1


async def test_a_copy_of_another_key_is_still_handled_when_the_first_is_lost(lanes: Lanes) -> None:
    first = entry("key-1", 1, event="one", partition=0)
    copy = entry("key-2", 2, event="one", partition=1)
    lanes.add(first)
    lanes.add(copy)
    assert await handed_out(lanes) is first
    lanes.drop({0})
    assert await handed_out(lanes) is copy
    assert lanes.done(copy) == [copy.ref]
    assert len(lanes) == 0


async def test_an_entry_that_is_decided_already_is_held_and_never_handed_out(lanes: Lanes) -> None:
    decided = entry("key-1", 1)
    lanes.add(decided, decided=True)
    assert await handed_out(lanes) is None
    assert lanes.holds(decided.ref)
    assert lanes.done(decided) == [decided.ref]
    assert len(lanes) == 0


WAYS: Final = ("ready", "active", "delayed", "parked", "unparked")


@pytest.mark.parametrize("way", WAYS)
async def test_an_entry_dropped_and_read_again_is_handed_out_once_wherever_it_was(lanes: Lanes, way: str) -> None:
    old, new = entry("key-1", 1), entry("key-1", 1)
    lanes.add(old)
    if way != "ready":
        assert await handed_out(lanes) is old
    if way == "delayed":
        lanes.again(old, 0.01)
    elif way in ("parked", "unparked"):
        lanes.park(old, "test")
    if way == "unparked":
        lanes.unpark("test")
    assert lanes.drop({0}) == 1
    lanes.add(new)
    assert await handed_out(lanes) is new
    # what the slot of the old one does now means nothing any more
    lanes.park(old, "test")
    lanes.again(old, 0)
    lanes.again(old, 0.01)
    lanes.done(old)
    lanes.unpark("test")
    await asyncio.sleep(0.05)  # time enough for a timer that should not be
    assert await handed_out(lanes) is None
    assert lanes.holds(new.ref)
    lanes.done(new)
    assert await handed_out(lanes) is None
    assert len(lanes) == 0


async def test_drop_waiting_leaves_what_is_being_worked_on(lanes: Lanes) -> None:
    active, behind, other = entry("key-1", 1), entry("key-1", 2), entry("key-2", 3)
    elsewhere = entry("key-3", 4, partition=1)
    for held in (active, behind, other, elsewhere):
        lanes.add(held)
    assert await handed_out(lanes) is active
    assert lanes.drop_waiting(0) == 1
    assert lanes.holds(active.ref)
    assert not lanes.holds(behind.ref)
    assert not lanes.holds(other.ref)
    assert lanes.done(active) == [active.ref]
    assert lanes.drop_waiting(0) == 0
    assert await handed_out(lanes) is elsewhere


async def test_closing_stops_the_timers(lanes: Lanes) -> None:
    held = entry("key-1", 1)
    lanes.add(held)
    assert await handed_out(lanes) is held
    lanes.again(held, 0.01)
    lanes.close()
    await asyncio.sleep(0.05)
    assert await handed_out(lanes) is None
    assert lanes.holds(held.ref)


async def test_what_stands_in_line_is_handed_out_when_its_ticket_is_called(lanes: Lanes) -> None:
    waiting, other = entry("key-1", 1), entry("key-2", 2)
    ticket = Ticket(1, asyncio.get_running_loop().create_future())
    for held in (waiting, other):
        lanes.add(held)
    assert await handed_out(lanes) is waiting
    lanes.stand_in_line(waiting, ticket)
    assert await handed_out(lanes) is other
    assert await handed_out(lanes) is None
    ticket.called.set_result(None)
    assert await handed_out(lanes) is waiting
    assert waiting.ticket is ticket


@pytest.mark.parametrize("how", ["dropped", "dropped before", "closed"])
async def test_what_is_dropped_or_closed_leaves_the_line(lanes: Lanes, how: str) -> None:
    held, ticket = entry("key-1", 1), Ticket(1, asyncio.get_running_loop().create_future())
    lanes.add(held)
    assert await handed_out(lanes) is held
    if how == "dropped before":
        lanes.drop({0})
    lanes.stand_in_line(held, ticket)
    if how == "dropped":
        assert lanes.drop_waiting(0) == 0
    if how == "closed":
        lanes.close()
    assert ticket.called.cancelled()
    assert await handed_out(lanes) is None


async def test_a_key_takes_back_what_was_left_of_it_when_half_of_its_share_has_ended() -> None:
    lanes = Lanes(4)
    entries = [entry("key-1", n) for n in range(10)]
    for held in entries:
        if lanes.has_room("key-1", 0):
            lanes.add(held)
        else:
            lanes.left.add(LeftEntry("key-1", held.ref, history=False))
    assert (len(lanes), len(lanes.left)) == (4, 6)
    assert lanes.has_room("key-2", 3)
    assert not lanes.has_room("key-2", 4)
    lanes.done(entries[0])
    assert not lanes.wanted.is_set()
    assert lanes.take_back(100) == []
    lanes.done(entries[1])
    assert lanes.wanted.is_set()
    assert [one.ref for one in lanes.take_back(100)] == [held.ref for held in entries[4:6]]
    assert not lanes.wanted.is_set()


async def test_copies_count_into_the_share_of_their_key() -> None:
    lanes = Lanes(4)
    for n in range(4):
        assert lanes.has_room("key-1", 0)
        lanes.add(entry("key-1", n, event="one"))
    assert not lanes.has_room("key-1", 0)


# --- against a model ---------------------------------------------------------

State = Literal["ready", "active", "delayed", "parked"]


@dataclass(eq=False)
class Modelled:
    """An entry as the model sees it. *behind*: copies that end with it."""

    held: Entry
    state: State = "ready"
    due: float = 0.0
    behind: list[Entry] = field(default_factory=list)


SUBJECTS: Final = {"a": 0, "b": 0, "c": 1, "d": 1}
SHARE: Final = 4


class LanesAgainstModel(RuleBasedStateMachine):
    """Keys as lists: only the head of a list is ever in another state than ready."""

    active = Bundle("active")

    def __init__(self) -> None:
        super().__init__()
        self.loop = FakeLoop()
        self.lanes = self.loop.run_until_complete(self._make())
        self.keys: dict[str, list[Modelled]] = {subject: [] for subject in SUBJECTS}
        self.left: dict[str, list[Entry]] = {subject: [] for subject in SUBJECTS}
        self.lost: list[Entry] = []
        self.number = 0

    async def _make(self) -> Lanes:
        return Lanes(SHARE)

    def load(self, subject: str) -> int:
        return sum(1 + len(m.behind) for m in self.keys[subject])

    def teardown(self) -> None:
        self.lanes.close()
        self.loop.close()

    def everything(self) -> Iterator[Modelled]:
        for lane in self.keys.values():
            yield from lane

    def mine(self, held: Entry) -> Modelled | None:
        return next((m for m in self.everything() if m.held is held), None)

    def heads(self, state: State) -> list[Modelled]:
        return [lane[0] for lane in self.keys.values() if lane and lane[0].state == state]

    @rule(subject=st.sampled_from(sorted(SUBJECTS)))
    def add(self, subject: str) -> None:
        self.number += 1
        held = entry(subject, self.number, partition=SUBJECTS[subject])
        room = self.lanes.has_room(subject, 0)
        assert room == (not self.left[subject] and self.load(subject) < SHARE)
        if room:
            self.lanes.add(held)
            self.keys[subject].append(Modelled(held))
        else:
            self.lanes.left.add(LeftEntry(subject, held.ref, self.number % 2 == 0))
            self.left[subject].append(held)

    @rule(most=st.integers(1, 5), fails=st.booleans())
    def take_back(self, most: int, fails: bool) -> None:
        wanting = [s for s in SUBJECTS if self.left[s] and self.load(s) <= SHARE // 2]
        expected = min(most, sum(min(len(self.left[s]), SHARE - self.load(s)) for s in wanting))
        taken = self.lanes.take_back(most)
        assert len(taken) == expected
        assert all(one.history == (int(one.ref.id.split("-")[0]) % 2 == 0) for one in taken)
        if fails:
            self.lanes.left.put_back(taken)
            return
        for one in taken:
            held = self.left[one.subject].pop(0)
            assert held.ref == one.ref, "in the order of its key"
            self.lanes.add(held)
            self.keys[one.subject].append(Modelled(held))

    @rule(data=st.data())
    def add_a_copy(self, data: st.DataObject) -> None:
        if not (firsts := list(self.everything())):
            return
        first = data.draw(st.sampled_from(firsts))
        self.number += 1
        held = first.held
        copy = entry(held.event.subject, self.number, event=held.event.id, partition=held.partition)
        self.lanes.add(copy)
        first.behind.append(copy)

    @rule(data=st.data())
    def read_a_lost_one_again(self, data: st.DataObject) -> None:
        gone = [h for h in self.lost if not self.lanes.holds(h.ref)]
        if not gone:
            return
        old = data.draw(st.sampled_from(gone))
        again = entry(old.event.subject, int(old.ref.id.split("-")[0]), event=old.event.id, partition=old.partition)
        self.lanes.add(again)
        first = next((m for m in self.everything() if m.held.event.id == old.event.id), None)
        if first is None:
            self.keys[old.event.subject].append(Modelled(again))
        else:
            first.behind.append(again)

    @rule(target=active)
    def take(self) -> object:
        held = self.loop.run_until_complete(handed_out(self.lanes))
        ready = self.heads("ready")
        if held is None:
            assert not ready
            return multiple()
        assert held in [m.held for m in ready]
        known = self.mine(held)
        assert known is not None
        known.state = "active"
        return held

    @rule(held=consumes(active))
    def commit(self, held: Entry) -> None:
        known = self.mine(held)
        acks = set(self.lanes.done(held))
        assert held.ref in acks
        if known is not None:
            assert {h.ref for h in known.behind} <= acks
            self.keys[held.event.subject].remove(known)

    @rule(held=consumes(active), delay=st.sampled_from([0.0, 1.0, 5.0]))
    def wait(self, held: Entry, delay: float) -> None:
        self.loop.call_soon(self.lanes.again, held, delay)
        self.loop.run_until_complete(asyncio.sleep(0))
        if (known := self.mine(held)) is not None:
            known.state = "delayed" if delay else "ready"
            known.due = self.loop.now + delay

    @rule(held=consumes(active), channels=st.sampled_from([("test",), ("test", "other")]))
    def park(self, held: Entry, channels: tuple[str, ...]) -> None:
        self.lanes.park(held, *channels)
        if (known := self.mine(held)) is not None:
            known.state = "parked"

    @rule()
    def unpark(self) -> None:
        for channels in self.lanes.awaited:
            self.lanes.unpark(*channels)
        for known in self.heads("parked"):
            known.state = "ready"

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.loop.now += seconds
        self.loop.run_until_complete(asyncio.sleep(0))
        for known in self.heads("delayed"):
            if known.due <= self.loop.now:
                known.state = "ready"

    @rule(partition=st.integers(0, 1))
    def drop(self, partition: int) -> None:
        gone = [m for m in self.everything() if m.held.partition == partition]
        assert self.lanes.drop({partition}) == sum(1 + len(m.behind) for m in gone)
        self.forget(gone)
        self.forget_left(partition)

    @rule(partition=st.integers(0, 1))
    def drop_waiting(self, partition: int) -> None:
        mine = [m for m in self.everything() if m.held.partition == partition]
        busy = [m for m in mine if m.state == "active"]
        assert self.lanes.drop_waiting(partition) == len(busy)
        for known in busy:
            self.lost += known.behind
            known.behind = []
        self.forget([m for m in mine if m.state != "active"])
        self.forget_left(partition)

    def forget_left(self, partition: int) -> None:
        for subject, left in self.left.items():
            if SUBJECTS[subject] == partition:
                self.lost += left
                left.clear()

    def forget(self, gone: list[Modelled]) -> None:
        for known in gone:
            self.lost += [known.held, *known.behind]
            self.keys[known.held.event.subject].remove(known)

    @invariant()
    def they_hold_the_same(self) -> None:
        entries = [h for m in self.everything() for h in (m.held, *m.behind)]
        assert len(self.lanes) == len(entries)
        left = [h for held in self.left.values() for h in held]
        assert len(self.lanes.left) == len(left)
        assert all(self.lanes.holds(h.ref) for h in (*entries, *left))
        assert self.lanes.by_stream() == Counter(h.ref.key for h in (*entries, *left))
        assert sum(self.lanes.parked.values()) == len(self.heads("parked"))


LanesAgainstModel.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestLanesDoWhatTheModelSays = LanesAgainstModel.TestCase
